"""`python -m packages`: writes the completions and the man pages, as `make pages` does."""

from __future__ import annotations

from packages.generated import write

if __name__ == "__main__":
    write()
