"""Array values: one row's array is one blob with its own NULL flags, everything on eight byte boundaries."""

from __future__ import annotations

from typing import Sequence

import numpy as np

BOUNDARY = 8


def aligned(data: bytes) -> bytes:
    """Return `data` with zeros up to the next boundary."""
    return data + bytes(-len(data) % BOUNDARY)


def fixed_array(nulls: Sequence[bool], data: bytes) -> bytes:
    """Return the blob of an array whose elements have a fixed size; readers derive the count from its length."""
    return aligned(bytes(nulls)) + data


def text_array(values: Sequence[str | None]) -> bytes:
    """Return the blob of an array of strings: the count, the NULL flags, the end of each string, the strings."""
    if not values:
        return b""
    strings = [(value or "").encode() for value in values]
    ends = []
    start = 0
    for string in strings:
        ends.append(start + len(string))
        start += len(aligned(string))
    flags = bytes(value is None for value in values)
    return b"".join(
        [
            np.array([len(values)], dtype="<i8").tobytes(),
            aligned(flags),
            aligned(np.array(ends, dtype="<i4").tobytes()),
            *map(aligned, strings),
        ]
    )
