"""The parsers of all commands, as the program itself builds them, and what a shell may complete their values with."""

from __future__ import annotations

import argparse

import shtab

from sqmon.cli import main
from sqmon.config import catalogue


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of one command, each of its arguments with the `complete` that shtab reads where files or metrics are meant."""
    parser = main.parser_of(name, main.load(name))
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to see them, and shtab reads them there too
        if action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in ("FILE", "PATH", "BUNDLE"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "METRIC" and action.choices is None:
            action.choices = tuple(catalogue.FUNCTIONS)
        elif action.choices is not None:
            action.choices = tuple(action.choices)  # shtab takes the keys of a mapping for commands
    return parser


def program() -> argparse.ArgumentParser:
    """Return one parser for the whole program: the options of `run`, then a command with its own."""
    parser = parser_of("run")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in main.COMMANDS.items():
        commands.add_parser(name, help=summary, description=summary, parents=[parser_of(name)], add_help=False)
    return parser
