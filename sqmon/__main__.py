"""Make `python -m sqmon` the same as `sqmon`."""

from sqmon.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
