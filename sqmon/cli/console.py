"""The console for people: rich's, but a reader that has gone ends a command as it does elsewhere, without an error."""

from __future__ import annotations

import rich.console


class Console(rich.console.Console):
    """Writes to stdout unless it is told otherwise."""

    def on_broken_pipe(self) -> None:
        """Leave the answer to `main`; rich would exit with code 1."""
        raise BrokenPipeError
