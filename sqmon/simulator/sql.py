"""The parser of the few statements that a monitor sends."""

from __future__ import annotations

import re
from typing import NamedTuple

_CALL = re.compile(r"select\s+(?:\*\s+from\s+)?([a-z_]\w*)\s*\((.*)\)", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"select\s+(-?\d+)", re.IGNORECASE)
_VIEW = re.compile(
    r"select\s+(\*|[\w\s,]+?)\s+from\s+sqream_catalog\.(\w+)"
    r"(?:\s+where\s+(\w+)\s*=\s*('(?:[^']|'')*'|-?\d+))?",
    re.IGNORECASE,
)
_ARGUMENT = re.compile(r"\s*('(?:[^']|'')*'|-?\d+(?:\.\d+)?)\s*(,|$)")
_PIECE = re.compile(r"(?:'(?:[^']|'')*'|[^;'])*", re.DOTALL)


class StatementError(Exception):
    """The text that a refused statement is answered with."""


class Call(NamedTuple):
    """`select name(arguments)`."""

    name: str
    arguments: tuple[str, ...]


class Number(NamedTuple):
    """`select 1`."""

    value: int


class ViewQuery(NamedTuple):
    """`select columns from sqream_catalog.view where column = value`; no columns means all of them."""

    view: str
    columns: tuple[str, ...]
    where: tuple[str, str] | None


class Other(NamedTuple):
    """Any other statement, which nothing here can run."""

    text: str


def parse(text: str) -> Call | Number | ViewQuery | Other:
    """Return what the statement asks for; raises StatementError unless it is exactly one statement."""
    pieces = [piece.strip() for piece in _PIECE.findall(text) if piece.strip()]
    if len(pieces) != 1:
        raise StatementError(f"expected one statement, got {len(pieces)}")
    statement = pieces[0]
    number = _NUMBER.fullmatch(statement)
    if number:
        return Number(int(number[1]))
    view = _VIEW.fullmatch(statement)
    if view:
        columns = () if view[1] == "*" else tuple(name.strip().lower() for name in view[1].split(","))
        where = (view[3].lower(), _value(view[4])) if view[3] else None
        return ViewQuery(view[2].lower(), columns, where)
    call = _CALL.fullmatch(statement)
    arguments = _arguments(call[2]) if call else None
    if call and arguments is not None:
        return Call(call[1].lower(), arguments)
    return Other(statement)


def _arguments(text: str) -> tuple[str, ...] | None:
    """Return the literals between the parentheses, or None when there is anything else."""
    found = []
    position = 0
    while position < len(text.rstrip()):
        literal = _ARGUMENT.match(text, position)
        if literal is None:
            return None
        found.append(_value(literal[1]))
        position = literal.end()
    return tuple(found)


def _value(literal: str) -> str:
    return literal[1:-1].replace("''", "'") if literal.startswith("'") else literal
