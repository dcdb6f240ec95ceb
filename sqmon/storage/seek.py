"""The search for a time: which segments may have lines of it, and where in a segment they begin.

A line's `ts` is in its first bytes, and increases within a segment. Where the lines of all streams are mixed, a line is written when its
poll has ended, so that it may stand behind later ones: there, the search leaves a margin, and each line is looked at.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from typing import Callable, NamedTuple, Optional, Sequence

from sqmon.clock import stamp_ns, utc_stamp
from sqmon.storage.source import MIXED, Position, Segment, lines_of, whole_size

TS = slice(7, 37)
"""Where a line has its `ts`."""

_START = b'{"ts":"'
_HEAD = re.compile(rb'^\{"ts":"([^"\n]{30})"', re.MULTILINE)
_BLOCK = 1 << 16  # bytes that are read at once; more than a line has
MARGIN_NS = 300 * 10**9
"""By how much a line of mixed streams may stand behind later ones."""
_SLACK_NS = 2 * 10**9  # by which a stamp may differ from the clock that gave a segment its name


class Window(NamedTuple):
    """A range of time, in nanoseconds since 1970; both ends belong to it, and None leaves an end open."""

    since_ns: Optional[int] = None
    until_ns: Optional[int] = None

    def widened(self, segment: Segment) -> Window:
        """Return the range in which a segment may have lines of this one."""
        if segment.stream != MIXED:
            return self
        since = None if self.since_ns is None else self.since_ns - MARGIN_NS
        return Window(since, None if self.until_ns is None else self.until_ns + MARGIN_NS)

    def has(self, line: bytes) -> bool:
        """Return whether a line is within the window; what doesn't begin as a line does belongs to any."""
        if not line.startswith(_START):
            return True
        stamp = line[TS]
        return (self.since_ns is None or stamp >= _stamp(self.since_ns)) and (self.until_ns is None or stamp <= _stamp(self.until_ns))

    def begins_after(self, line: bytes, segment: Segment) -> bool:
        """Return whether no line before this one is within the window."""
        since_ns = self.widened(segment).since_ns
        return since_ns is not None and line.startswith(_START) and line[TS] < _stamp(since_ns)


@functools.lru_cache(maxsize=64)
def _stamp(ns: int) -> bytes:
    return utc_stamp(ns).encode()


ALWAYS = Window()
"""All of time."""


def within(segments: Sequence[Segment], window: Window) -> list[Segment]:
    """Return the segments, given in order, that may have lines of the window.

    Names and times of files decide where they can; where they can't, the first or the last line does. After a step of the clock, segments
    overlap. One that can't be read is among them.
    """
    return [segment for place, segment in enumerate(segments) if _may_have(segments, place, window.widened(segment))]


def _may_have(segments: Sequence[Segment], place: int, window: Window) -> bool:
    segment = segments[place]
    if window.since_ns is not None:
        ended_by_ns = segment.ended_by_ns
        if ended_by_ns is not None and ended_by_ns < window.since_ns:
            return False
        following = segments[place + 1].born_ns if place + 1 < len(segments) else None
        # A copy may have lost the times of its files: of a segment that its successor's name rules out, the last line is asked.
        is_doubtful = ended_by_ns is None or (following is not None and following + _SLACK_NS < window.since_ns)
        if is_doubtful and _last_ns(segment, window.since_ns) < window.since_ns:
            return False
    if window.until_ns is None or segment.born_ns is None or segment.born_ns <= window.until_ns:
        return True
    # The first line may be of a poll that began before the segment was made, or may have waited for a full disk.
    before = segments[place - 1].born_ns if place else None
    return (before is None or before <= window.until_ns) and _first_ns(segment) <= window.until_ns


def _first_ns(segment: Segment) -> int:
    with contextlib.suppress(OSError, ValueError), segment.open() as file:
        return stamp_ns(file.read(TS.stop)[TS].decode())
    return 0


def _last_ns(segment: Segment, otherwise: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return stamp_ns(segment.last_line()[TS].decode())
    return otherwise


def begin(segment: Segment, window: Window) -> int:
    """Return the offset of the first line that may be within the window: 0 where finding it needs everything before; raises OSError."""
    since_ns = window.widened(segment).since_ns
    if since_ns is None or not segment.seekable:
        return 0
    with segment.open() as file:
        return offset_of(reading(file.fileno()), whole_size(file.fileno()), since_ns)


def end_of(segment: Segment) -> Position:
    """Return the position after the last whole line of a segment; raises OSError."""
    if not segment.seekable:
        return Position(segment, segment.size())
    with segment.open() as file:
        return Position(segment, whole_size(file.fileno()))


Read = Callable[[int, int], bytes]
"""Returns the bytes at an offset, at most so many."""


def reading(descriptor: int) -> Read:
    """Return what reads a file at any offset; raises OSError."""
    return lambda offset, size: os.pread(descriptor, size, offset)


def offset_of(read: Read, size: int, since_ns: int) -> int:
    """Return the offset of the first line whose `ts` is not before `since_ns`, `size` when there is none; raises what `read` raises.

    What doesn't begin as a line does belongs to the line before it.
    """
    stamp = _stamp(since_ns)
    low, high, found = 0, size, size
    while high - low > _BLOCK:
        middle = (low + high) // 2
        start = _start_from(read, middle, high)
        if start is None:
            high = middle
        elif read(start, TS.stop)[TS] < stamp:
            low = start + 1
        else:
            high, found = middle, start
    # The line that begins right before `low` is known to be too early.
    data = read(max(0, low - 1), high - max(0, low - 1) + TS.stop)
    for match in _HEAD.finditer(data):
        if match[1] >= stamp:
            return min(max(0, low - 1) + match.start(), found)
    return found


def _start_from(read: Read, position: int, limit: int) -> Optional[int]:
    """Return where the first line begins from `position` to before `limit`."""
    while position < limit:
        block = read(position - 1, _BLOCK)
        at = block.find(b"\n" + _START)
        if at >= 0:
            return position + at if position + at < limit else None
        if len(block) <= len(_START):
            return None
        position += len(block) - len(_START)
    return None


def cut(data: bytes, segment: Segment, window: Window) -> bytes:
    """Return the lines of a piece of whole lines that are within the window."""
    if window == ALWAYS:
        return data
    if segment.stream == MIXED:
        return b"".join(line for line in lines_of(data) if window.has(line))
    first, last = data[TS], data[data.rfind(b"\n", 0, -1) + 1 :][TS]
    start, end = 0, len(data)
    if window.since_ns is not None and first < _stamp(window.since_ns):
        start = offset_of(lambda offset, size: data[offset : offset + size], len(data), window.since_ns)
    if window.until_ns is not None and last > _stamp(window.until_ns):
        end = offset_of(lambda offset, size: data[offset : offset + size], len(data), window.until_ns + 1)
    return data[start:end]


def is_after(data: bytes, segment: Segment, window: Window) -> bool:
    """Return whether no line that follows this piece of whole lines is within the window."""
    until_ns = window.widened(segment).until_ns
    return until_ns is not None and data[data.rfind(b"\n", 0, -1) + 1 :][TS] > _stamp(until_ns)
