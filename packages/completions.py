"""Completion of commands, options and their values by the shells."""

from __future__ import annotations

import shtab

from packages import commands

PATHS = {"bash": "bash/sqmon", "zsh": "zsh/_sqmon", "fish": "fish/sqmon.fish"}
"""Each shell, and the name under which it looks for the completion of `sqmon` in its directory."""


def files() -> dict[str, str]:
    """Return the file of each shell: path -> text."""
    program = commands.program()
    return {path: shtab.complete(program, shell) for shell, path in PATHS.items()}
