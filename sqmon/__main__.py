"""Make `python -m sqmon` the same as `sqmon`."""

from sqmon.interpreter import leave_working_directory

if __name__ == "__main__":
    leave_working_directory()
    from sqmon.cli.main import main

    raise SystemExit(main())
