"""`python -m sqmon.simulator`."""

from __future__ import annotations

from sqmon.simulator.command import main

if __name__ == "__main__":
    raise SystemExit(main())
