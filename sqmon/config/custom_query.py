"""A check of custom queries: one select, and every function that it calls is known to change nothing."""

from __future__ import annotations

import re
from typing import Collection

from sqmon.config import read_only

_LONGEST = 1 << 16

# Two servers, or a server and this check, must not read a query differently: what is none of these tokens is refused.
_TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\r\n]+)
    | (?P<comment>--|/\*)
    | (?P<literal>'[^']*(?:''[^']*)*'(?!') | \$\$.*?\$\$)
    | "(?P<quoted>[^"]*(?:""[^"]*)*)"(?!")
    | (?P<word>[a-z_][a-z0-9_]*)
    | (?P<number>[0-9][a-z0-9_.]*)
    | (?P<sign>[-.,;()+*/%<>=!|&^~:\[\]])
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE | re.ASCII,
)

# Tokens in front of a bracket that call nothing.
_NO_CALL = frozenset(
    """
    ( [ , + - * / % < > = ! | & ^ ~ :
    all and any as between by case distinct else end except exists filter from group having in intersect is join like limit not on or
    order over partition rlike select some then top union using values when where within
    """.split()  # noqa: SIM905 - words
)


def problem(query: str, allowed: Collection[str] = ()) -> str:
    """Return what is wrong with a query as the end of a sentence, or "" for one read-only select.

    `allowed` are functions for which the operator answers; what is known to change the server is refused nevertheless.
    """
    try:
        _check(query, allowed)
    except ValueError as error:
        return str(error)
    return ""


def _check(query: str, allowed: Collection[str]) -> None:
    """Raise ValueError with the end of a sentence for anything but one read-only select."""
    if len(query) > _LONGEST:
        raise ValueError(f"has more than {_LONGEST} characters")
    if any(not character.isprintable() and character not in "\t\r\n" for character in query):
        raise ValueError("holds a control character, or one that is not text")
    tokens = _tokens(query)
    while tokens and tokens[-1] == ";":
        tokens.pop()
    if not tokens or tokens[0] != "select":
        raise ValueError("must start with select")
    if ";" in tokens:
        raise ValueError("must be one statement")
    if "into" in tokens:
        raise ValueError("must not write what it selects (into)")
    for before, token in zip(tokens, tokens[1:]):
        if token == "(" and before not in _NO_CALL:
            _check_call(before, allowed)


def _check_call(before: str, allowed: Collection[str]) -> None:
    """Raise ValueError unless the token before a bracket is a function that may be called."""
    name = before.strip('"')
    if not name[:1].isalpha() and name[:1] != "_":
        raise ValueError(f"has a bracket behind {before}, where no call can be")
    change = read_only.state_change(name)
    if change:
        raise ValueError(f"calls {name}, which {change}")
    if not read_only.only_reads(name) and name not in allowed:
        raise ValueError(f'calls {name}, which is not known to be read-only; if it is, add "allow_functions": ["{name}"]')


def _tokens(query: str) -> list[str]:
    """Return the words, signs and quoted names in lower case, quoted names in their quotes, literals as ''; raises ValueError."""
    tokens = []
    position, touching = 0, False
    while position < len(query):
        token = _TOKEN.match(query, position)
        if token is None:
            raise ValueError(_unreadable(query[position:]))
        position = token.end()
        text = token[0].lower()
        if token.lastgroup == "comment":
            raise ValueError("must not hold comments")
        if token.lastgroup in ("literal", "quoted") and re.search(r"\\['\"]", text):
            # To a server that knows such escapes, the literal does not end where it ends to others.
            raise ValueError("has a backslash before a quote, which can be read in two ways")
        if text[0] == "$" and touching:
            # A server may take the $$ for a part of the name.
            raise ValueError("holds '$' outside quotes")
        touching = token.lastgroup in ("word", "number")
        if token.lastgroup == "literal":
            tokens.append("''")
        elif token.lastgroup != "blank":
            tokens.append(text)
    return tokens


def _unreadable(rest: str) -> str:
    if rest[0] in "'\"" or rest.startswith("$$"):
        return "has a quote that is never closed"
    return f"holds {rest[0]!r} outside quotes"
