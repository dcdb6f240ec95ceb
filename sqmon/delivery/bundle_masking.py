"""The masking of what goes into a bundle: SQL text and secrets in lines, in the metrics file, and in the status."""

from __future__ import annotations

import re
from typing import Any, Callable, Iterator

import msgspec

from sqmon.config.settings import SqlMode
from sqmon.delivery.inspection import parsed
from sqmon.records.sql_columns import NAMES, REWRITE
from sqmon.records.sql_text import MASK, SECRET_WORDS, without_secrets

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
# Quotes within a text are escaped, so that nothing in one can look like a key. Each pattern begins with as much text as possible,
# which the engine finds ten times as fast.
_SQL = [(b'"%b' % name.encode(), re.compile(rb'("%b(?:_\d+)?":)(%b)' % (name.encode(), _STRING))) for name in sorted(NAMES)]
_ERROR = re.compile(rb'("(?:error|reason|problem)":)(%b)' % _STRING)
_TEXT = re.compile(rb"(?<=[:\[,])%b" % _STRING)
_WORDS = tuple(word.encode() for word in SECRET_WORDS)
_QUOTED = re.compile(r"(?<!\w)'(?:[^']|'')*(?:'|\Z)")
_REMEMBERED_BYTES = 8 << 20


class Masking:
    """What becomes of texts in one mode; in `full` they stay as they are."""

    def __init__(self, mode: SqlMode) -> None:
        self.mode = mode
        self._rewrite = REWRITE[mode]
        self._texts: dict[bytes, bytes] = {}
        self._bytes = 0

    def lines(self, data: bytes) -> bytes:
        """Return these whole lines masked; what is no record can't be, and is left out."""
        if self.mode == "full":
            return data
        lines = data[:-1].split(b"\n")
        kept = [line for line in lines if parsed(line) is not None]
        if len(kept) < len(lines):
            data = b"".join(line + b"\n" for line in kept)
        for beginning, pattern in _SQL:
            if beginning in data:
                data = pattern.sub(lambda match: match[1] + self._remembered(match[2]), data)
        if b"'" in data:
            data = _ERROR.sub(lambda match: match[1] + _changed(match[2], _without_quoted), data)
        lower = data.lower()
        if not any(word in lower for word in _WORDS):
            return data
        return b"".join(map(self._without_secrets, data.splitlines(keepends=True)))

    @staticmethod
    def refused(data: bytes) -> Iterator[bytes]:
        """Yield the lines that `lines` leaves out."""
        return (line for line in data[:-1].split(b"\n") if parsed(line) is None)

    def value(self, value: Any, key: str = "") -> Any:
        """Return what JSON was decoded to, with its texts masked."""
        if isinstance(value, dict):
            return {name: self.value(member, name) for name, member in value.items()}
        if isinstance(value, list):
            return [self.value(member, key) for member in value]
        if not isinstance(value, str) or self.mode == "full":
            return value
        return self._rewrite(value) if key in NAMES else without_secrets(_without_quoted(value))

    def _remembered(self, string: bytes) -> bytes:
        found = self._texts.get(string)
        if found is None:
            if self._bytes > _REMEMBERED_BYTES:
                self._texts.clear()
                self._bytes = 0
            found = self._texts[string] = _changed(string, self._rewrite)
            self._bytes += len(string) + len(found)
        return found

    @staticmethod
    def _without_secrets(line: bytes) -> bytes:
        lower = line.lower()
        if not any(word in lower for word in _WORDS):
            return line
        return _TEXT.sub(lambda match: _changed(match[0], without_secrets), line)


def _changed(string: bytes, change: Callable[[str], Any]) -> bytes:
    """Return the JSON of a text after a change; that of an unchanged text is not written anew."""
    text = msgspec.json.decode(string, type=str)
    changed = change(text)
    return string if changed == text else msgspec.json.encode(changed)


def _without_quoted(text: str) -> str:
    """Return what somebody says, without what is quoted in it: servers repeat parts of statements."""
    return _QUOTED.sub(MASK, text)
