"""Make `python -m sqmon` the same as `sqmon`."""

import os
import sys


def _leave_working_directory() -> None:
    """Import nothing from the working directory, which `-m` puts first on `sys.path`: anybody who may write there could run code.

    Where sqmon itself comes from there, as in a checkout that isn't installed, the directory goes to the end instead: it can then add
    modules but hide none. Before this has run, only what the interpreter has imported at its start may be used.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - see above
    if sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - see above
        del sys.path[0]
        if home == os.getcwd() and home not in sys.path:  # noqa: PTH109 - see above
            sys.path.append(home)


if __name__ == "__main__":
    _leave_working_directory()
    from sqmon.cli.main import main

    raise SystemExit(main())
