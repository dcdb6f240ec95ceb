"""`python -m alloy.source`: writes the rules and the dashboards."""

from __future__ import annotations

from pathlib import Path

from alloy.source.generated import files

if __name__ == "__main__":
    for path, text in files().items():
        target = Path(__file__).parent.parent / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
