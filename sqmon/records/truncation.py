"""The truncation of records that would be too long for a line: the longest strings are cut, and the line names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqmon.records.values import Plain

KEY = "truncated"

_NAMES_BYTES = 4096  # for the names of the columns, when hundreds were cut
_STUB_BYTES = 32  # of every string, when the keys alone are too long
_encode = msgspec.json.Encoder().encode


def shortened(head: msgspec.Raw, fields: Mapping[str, Plain], limit: int) -> bytes:
    """Return a line of at most `limit` bytes, newline included; `head` is the raw value of "ts" and what follows it."""
    size = len(_line(head, fields))
    if size <= limit:
        return _line(head, fields)
    sizes = sorted(((_size(value), name) for name, value in fields.items() if isinstance(value, str)), reverse=True)
    # Cut the fewest strings to a common size that makes the line fit and leaves no longer string untouched.
    rest = size + len(f',"{KEY}":[]') - 1
    for count, (text_size, name) in enumerate(sizes, start=1):
        rest += len(name) + 3 - text_size
        each = (limit - rest) // count
        untouched = sizes[count][0] if count < len(sizes) else 0
        if each >= untouched:
            return _line(head, _cut(fields, {name for _, name in sizes[:count]}, each))
    return _line(head, _stubs(head, fields, limit))


def _line(head: msgspec.Raw, fields: Mapping[str, object]) -> bytes:
    return _encode({"ts": head, **fields}) + b"\n"


def _size(text: str) -> int:
    return len(_encode(text)) - 2


def _prefix(text: str, size: int) -> str:
    """Return the longest prefix of `text` that takes at most `size` bytes as JSON, escapes included."""
    low, high = 0, min(len(text), size)
    while low < high:
        middle = (low + high + 1) // 2
        if _size(text[:middle]) <= size:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def _cut(fields: Mapping[str, Plain], names: set[str], size: int) -> dict[str, object]:
    cut: dict[str, object] = {
        name: _prefix(value, size) if name in names and isinstance(value, str) else value for name, value in fields.items()
    }
    cut[KEY] = [name for name in fields if name in names]
    return cut


def _stubs(head: msgspec.Raw, fields: Mapping[str, Plain], limit: int) -> dict[str, object]:
    """Return the first columns with the beginnings of their strings; the others are left out, and named while there is room."""
    kept: dict[str, object] = {}
    names: list[str] = []
    names_size = unnamed = 0
    room = limit - len(_line(head, {KEY: []})) - _NAMES_BYTES
    for name, value in fields.items():
        stub = _prefix(value, _STUB_BYTES) if isinstance(value, str) else value
        room -= len(_encode({name: stub})) - 1
        if room >= 0:
            kept[name] = stub
            if stub == value:
                continue
        if names_size + len(name) + 3 < _NAMES_BYTES - len('"and 1000000000 more",'):
            names_size += len(name) + 3
            names.append(name)
        else:
            unnamed += 1
    kept[KEY] = [*names, f"and {unnamed} more"] if unnamed else names
    return kept
