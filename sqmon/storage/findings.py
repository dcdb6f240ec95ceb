"""What is wrong with the lines that were read: lines that are torn, segments that can't be read, and lines that are missing."""

from __future__ import annotations

from typing import Iterator, NamedTuple, Optional

import msgspec

from sqmon.errors import reason_of, shown
from sqmon.storage.source import MIXED, Segment, lines_of


class Hole(NamedTuple):
    """Lines of a run that are not there although lines before and after them are."""

    stream: str
    run_id: str
    first_seq: int
    last_seq: int


class _Head(msgspec.Struct):
    seq: int
    metric: str
    run_id: str


_decode = msgspec.json.Decoder(_Head).decode


class Findings:
    """Collected on the way, to be told once at the end.

    The `seq` of a piece of lines is checked by its first line, its last line and their number, which costs next to nothing; only where
    these don't fit together is each line looked at.
    """

    def __init__(self) -> None:
        self.torn = 0
        """Unfinished or broken lines in segments that nobody writes to any more."""
        self.holes: list[Hole] = []
        self._unreadable: dict[str, str] = {}
        self._last: dict[tuple[str, str], int] = {}

    def note_unreadable(self, segment: str, error: OSError) -> None:
        """Note that a segment can't be read, or not to its end."""
        self._unreadable[segment] = reason_of(error)

    def check(self, data: bytes, segment: Segment) -> None:
        """Check the `seq` of lines that follow those of the last call for the same stream."""
        first, last = _head(data[: data.index(b"\n")]), _head(data[data.rfind(b"\n", 0, -1) + 1 : -1])
        are_of_one_run = segment.stream != MIXED and first is not None and last is not None and first.run_id == last.run_id
        if first and last and are_of_one_run and last.seq - first.seq + 1 == data.count(b"\n"):
            self._follow(first, last.seq)
            return
        for line in lines_of(data):
            head = _head(line)
            if head is not None:
                self._follow(head, head.seq)

    def sentences(self) -> Iterator[str]:
        """Yield a line for people for each kind of thing that is wrong."""
        for name, reason in self._unreadable.items():
            yield f"{shown(name)}: can't be read to its end: {reason}"
        if self.torn:
            lines = "1 line is" if self.torn == 1 else f"{self.torn} lines are"
            yield f"{lines} torn or no record, and left out"
        streams = sorted({hole.stream for hole in self.holes})
        for stream in streams:
            holes = [hole for hole in self.holes if hole.stream == stream]
            count = sum(hole.last_seq - hole.first_seq + 1 for hole in holes)
            last = holes[-1]
            newest = f"seq {last.first_seq} to {last.last_seq}" if last.last_seq > last.first_seq else f"seq {last.first_seq}"
            lines = "1 line is" if count == 1 else f"{count} lines are"
            place = (
                f"{newest} of run {last.run_id}" if len(holes) == 1 else f"{len(holes)} holes, the last one {newest} of run {last.run_id}"
            )
            yield f"{shown(stream)}: {lines} missing ({shown(place)}); `sqmon verify` tells whether an event explains it"

    def _follow(self, first: _Head, last_seq: int) -> None:
        key = (first.metric, first.run_id)
        before = self._last.get(key)
        if before is not None and first.seq > before + 1:
            self.holes.append(Hole(first.metric, first.run_id, before + 1, first.seq - 1))
        self._last[key] = last_seq


def _head(line: bytes) -> Optional[_Head]:
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
