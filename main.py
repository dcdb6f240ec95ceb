"""Start sqmon the way the original monitor service was started: python main.py."""

from sqmon.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
