"""The masking of literals and secrets in SQL text, and a hash that is equal for equal statements.

The lexer knows only what literals, comments and quoted identifiers look like, so no text can make it fail. What is opened and never
closed, as in a statement that the server has cut off, is masked to its end.
"""

from __future__ import annotations

import hashlib
import re
from typing import Iterator

MASK = "?"
"""Stands for a literal."""

# It begins with one set of characters, since the engine then skips everything else many times as fast; that is why each alternative looks
# back at the character that it begins with.
_TOKEN = re.compile(
    r"""["'$.\d/-](?:
        (?<=")     (?:[^"]|"")*"                                               # a quoted identifier
      | (?<=[eE]') (?<![\w$]..) (?P<escaped> (?:[^'\\]|\\.|'')* (?:'|\\?\Z) )  # a string in which backslashes escape
      | (?<=')     (?P<string> (?:[^']|'')* (?:'|\Z) )
      | (?<=\$)    (?<![\w$].) (?P<dollars> (?P<tag>\w*\$) .*? (?:\$(?P=tag)|\Z) )
      | (?<=\d)    (?<![\w$]\d) (?P<number> [\w$]*\.?[\w$]* (?:(?<=[eE])[+-]\d[\w$]*)? )
      | (?<=\.)    (?<![\w$].) (?P<fraction> \d[\w$]* (?:(?<=[eE])[+-]\d[\w$]*)? )
      | (?<=")     (?P<open> .*\Z )
      | (?P<comment> (?<=-)-[^\n]* | (?<=/)\*.*?(?:\*/|\Z) )
    )""",
    re.VERBOSE | re.DOTALL,
)

_END = re.compile(f"(?:{_TOKEN.pattern})|;", re.VERBOSE | re.DOTALL)

SECRET_WORDS = (
    "passw",
    "secret",
    "token",
    "credential",
    "aws_id",
    "access_key",
    "accesskey",
    "private_key",
    "account_key",
    "api_key",
    "sas",
)
"""A literal is a secret when such a word, in whichever case, stands before it with nothing but some signs between the two."""

_BETWEEN = '"=:>(, \t\r\n'
_LONGEST_NAME = 64
_NO_NAME = re.compile(r"[^\w$]")

_SIGNS = "(),;=<>!*+-/%|.[]:"
_PREFIXED = re.compile(r"(?<![\w$])[ebnx]\?")
_STUCK = re.compile(r"(?<=[\w$])(?=\?)|(?<=\?)(?=[\w$])")
_LISTS = re.compile(r"\(\?(?:,\?)*\)(?:,\(\?(?:,\?)*\))*")


def masked(text: str) -> str:
    """Return `text` with every literal as ?, without its comments; masking twice is masking once."""
    return _TOKEN.sub(_mask, text)


def without_secrets(text: str) -> str:
    """Return `text` with the literals that are passwords, keys or tokens as ?.

    A text without a word such as PASSWORD is returned as it is; one with such a word loses its comments, which might repeat the secret.
    """
    lower = text.lower()
    if not any(word in lower for word in SECRET_WORDS):
        return text
    return _TOKEN.sub(lambda match: _mask(match) if match.lastgroup == "comment" or _follows_secret(match) else match[0], text)


def statements(text: str) -> Iterator[str]:
    """Yield the statements of a text, which semicolons separate, without the blanks around them."""
    start = 0
    for match in _END.finditer(text):
        if match[0] == ";":
            yield from filter(None, [text[start : match.start()].strip()])
            start = match.end()
    yield from filter(None, [text[start:].strip()])


def statement_hash(text: str) -> str:
    """Return 16 hexadecimal digits that are equal for statements which differ in nothing but literals, case, white space and comments."""
    normal = " ".join(_TOKEN.sub(_normalise, text).split()).lower()
    for sign in _SIGNS:
        if sign in normal:
            normal = normal.replace(f" {sign}", sign).replace(f"{sign} ", sign)
    if any(prefixed in normal for prefixed in ("e?", "b?", "n?", "x?")):
        normal = _PREFIXED.sub(MASK, normal)
    normal = _STUCK.sub(" ", normal)  # a quote needs no blank beside it
    normal = _LISTS.sub("(?)", normal.rstrip("; "))
    return hashlib.blake2b(normal.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _mask(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind is None:
        return match[0]
    return " " if kind == "comment" else MASK


def _normalise(match: re.Match[str]) -> str:
    # Case and white space count in a quoted identifier, and nowhere else.
    return _mask(match) if match.lastgroup else f' "{match[0].encode("utf-8", "surrogatepass").hex()}" '


def _follows_secret(match: re.Match[str]) -> bool:
    kind, end = match.lastgroup, match.start()
    if kind is None:
        return False
    before = match.string[max(0, end - 2 * _LONGEST_NAME) : end - (kind == "escaped")].rstrip(_BETWEEN)
    name = _NO_NAME.split(before[-_LONGEST_NAME:].lower())[-1]
    return any(word in name for word in SECRET_WORDS)
