"""Columns that are decoded lazily, one slice at a time."""

from __future__ import annotations

import io
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import Any, Callable, Iterator, Optional, Sequence, Union, overload

from sqmon.result import UNKNOWN, Facts

Buffer = Union[bytes, memoryview]

_LARGEST_INT = 2**53
_SLICE = 512
"""How many rows are best taken together: as many as the encoder takes."""

_BLANKS = b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f "
"""The ASCII characters that str.rstrip() removes."""


_NUMBERS = Facts(plain=True, longest=0)


class Column(Sequence[Any]):
    """A column of a result; a slice of it is a list that must not be changed, and slices in ascending order cost the least."""

    rows: int
    facts: Facts

    def take(self, start: int, stop: int) -> list[Any]:
        """Return the values from `start` to before `stop`; both are within the column."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, self.rows, _SLICE):
            yield from self[start : start + _SLICE]

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: Union[int, slice]) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(self.rows)
            if step != 1:
                return list(self)[index]
            return self.take(start, stop) if start < stop else []
        place = range(self.rows)[index]
        return self.take(place, place + 1)[0]


class Joined(Column):
    """A column that came in several chunks."""

    def __init__(self, parts: Sequence[Column]) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(part.rows for part in parts)]
        self.rows = self._starts[-1]
        facts = [part.facts for part in parts]
        self.facts = Facts(all(known.plain for known in facts), max(known.longest for known in facts))

    def take(self, start: int, stop: int) -> list[Any]:
        """See Column."""
        values: list[Any] = []
        place = bisect_right(self._starts, start) - 1
        while start < stop:
            first, end = self._starts[place], min(stop, self._starts[place + 1])
            values += self._parts[place].take(start - first, end - first)
            start, place = end, place + 1
        return values


class Memory:
    """The slices of a column as they were in the poll before; mostly they are the same again, and need not be decoded.

    `raw` is all that the values of a slice follow from: its bytes, and what says how they are to be read.
    """

    def __init__(self) -> None:
        self._slices: dict[int, tuple[tuple[object, ...], list[Any]]] = {}

    def recalled(self, start: int, raw: tuple[object, ...]) -> Optional[list[Any]]:
        """Return the values of the slice that begins at `start`, if its bytes are those of the last time."""
        known = self._slices.get(start)
        return known[1] if known is not None and known[0] == raw else None

    def keep(self, start: int, raw: tuple[object, ...], values: list[Any]) -> list[Any]:
        """Remember a slice, and return its values."""
        self._slices[start] = raw, values
        return values


class Values(Column):
    """Values that were decoded when they arrived."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values
        self.rows = len(values)
        self.facts = UNKNOWN

    def take(self, start: int, stop: int) -> list[Any]:
        """See Column."""
        return self._values[start:stop]


class Numbers(Column):
    """Bools, ints and floats of one width, which the machine reads as they are."""

    def __init__(self, view: memoryview, nulls: Optional[bytes]) -> None:
        self._view = view
        self._nulls = _some(nulls)
        self.rows = len(view)
        self.facts = _NUMBERS if view.format != "q" or _are_exact_in_doubles(view) else UNKNOWN

    def take(self, start: int, stop: int) -> list[Any]:
        """See Column."""
        return _with_nulls(self._view[start:stop].tolist(), self._nulls, start)


class Text(Column):
    """UTF-8 texts one after the other, and the number of bytes of each; the caller has checked that each is valid."""

    def __init__(self, data: Buffer, lengths: memoryview, nulls: Optional[bytes], longest: int, memory: Optional[Memory]) -> None:
        self._data = data
        self._lengths = lengths
        self._nulls = _some(nulls)
        self._memory = memory
        self._next = (0, 0)  # the row after the one that was taken last, and where its text begins
        self.rows = len(lengths)
        self.facts = Facts(plain=True, longest=longest)

    def take(self, start: int, stop: int) -> list[Any]:
        """See Column."""
        row, offset = self._next
        if row != start:
            offset = sum(self._lengths[:start])
        lengths = self._lengths[start:stop]
        end = offset + sum(lengths)
        self._next = (stop, end)
        piece = bytes(self._data[offset:end])
        if self._memory is None:
            return self._decoded(piece, lengths.tolist(), start)
        raw = (piece, lengths.tobytes(), b"" if self._nulls is None else self._nulls[start:stop])
        return self._memory.recalled(start, raw) or self._memory.keep(start, raw, self._decoded(piece, lengths.tolist(), start))

    def _decoded(self, piece: bytes, lengths: list[int], start: int) -> list[Any]:
        if not piece.isascii():
            values = list(map(bytes.decode, map(io.BytesIO(piece).read, lengths)))
        elif lengths.count(lengths[0]) == len(lengths):
            values = _of_one_width(piece.decode("ascii"), lengths[0], len(lengths))
        else:
            # Reading the pieces one after the other makes no slice objects, and takes half the time.
            values = list(map(io.StringIO(piece.decode("ascii")).read, lengths))
        return _with_nulls(values, self._nulls, start)


class Varchar(Column):
    """ASCII texts padded to one width; NULs anywhere and blanks at the end are not part of a text."""

    def __init__(self, data: Buffer, size: int, nulls: Optional[bytes], memory: Optional[Memory]) -> None:
        self._data = data
        self._size = size
        self._nulls = _some(nulls)
        self._memory = memory
        whole = bytes(data)
        self._has_nul = 0 in whole
        last = whole[size - 1 :: size]
        self._is_padded = self._has_nul or len(last.translate(None, _BLANKS)) < len(last)
        self.rows = len(last)
        self.facts = Facts(plain=True, longest=size)

    def take(self, start: int, stop: int) -> list[Any]:
        """See Column."""
        piece = bytes(self._data[start * self._size : stop * self._size])
        if self._memory is None:
            return self._decoded(piece, start, stop)
        raw = (self._size, piece, b"" if self._nulls is None else self._nulls[start:stop])
        return self._memory.recalled(start, raw) or self._memory.keep(start, raw, self._decoded(piece, start, stop))

    def _decoded(self, piece: bytes, start: int, stop: int) -> list[Any]:
        values = _of_one_width(piece.decode("ascii"), self._size, stop - start)
        if self._has_nul:
            values = [value.replace("\0", "") for value in values]
        if self._is_padded:
            values = list(map(str.rstrip, values))
        return _with_nulls(values, self._nulls, start)


def _of_one_width(text: str, width: int, count: int) -> list[Any]:
    """Return the `count` pieces of `width` characters that `text` consists of."""
    first = text[:width]
    if text == first * count:  # a service, a database or a port is often the same in all rows, and then costs nothing
        return [first] * count
    if count == _SLICE:
        return list(_pieces(width)(text))
    return [text[begin : begin + width] for begin in range(0, count * width, width)]


@lru_cache(maxsize=8)
def _pieces(width: int) -> Callable[[str], tuple[str, ...]]:
    """Return a function that cuts a text into a whole slice's pieces of this width in one call."""
    return itemgetter(*(slice(begin, begin + width) for begin in range(0, _SLICE * width, width)))


def _some(nulls: Optional[bytes]) -> Optional[bytes]:
    """Return the NULL flags of a part that has a NULL."""
    return nulls if nulls is not None and 1 in nulls else None


def _with_nulls(values: list[Any], nulls: Optional[bytes], start: int) -> list[Any]:
    if nulls is None:
        return values
    flags = nulls[start : start + len(values)]
    if 1 not in flags:
        return values
    return [None if flag == 1 else value for flag, value in zip(flags, values)]


def _are_exact_in_doubles(view: memoryview) -> bool:
    """Return whether all of these 64-bit ints are within 2^53; mostly their upper two bytes are zero, which is quick to see."""
    data = view.cast("B").tobytes()
    if not (data[6::8] + data[7::8]).strip(b"\0"):
        return True
    return min(view) >= -_LARGEST_INT and max(view) <= _LARGEST_INT
