"""The lines of a stream from any time or position on, forwards and backwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import OrderedDict
from typing import BinaryIO, Hashable, Iterator, NamedTuple, Optional

from sqmon.storage.seek import MARGIN_NS, Window, offset_of, reading, within
from sqmon.storage.source import MIXED, Position, Segment, Source, lines_of, whole_size

_FIRST, _CHUNK = 1 << 14, 1 << 20  # bytes that are read at once: few at first, then more
_OPEN = 4  # segments that are kept open; of an archive, that is its text on the disk


class PlacedLine(NamedTuple):
    """A line with its newline, and where it begins and ends."""

    data: bytes
    start: Position
    end: Position


class StreamLines:
    """Random access to a stream. What was decompressed for it is kept for the next look, in a temporary file.

    Lines of segments that can't be read are passed over. A line that is not whole yet is not there.
    """

    def __init__(self, source: Source, stream: str) -> None:
        self._source = source
        self._stream = stream
        self._wanted = b'"metric":"%b"' % stream.encode()
        self._open: OrderedDict[Hashable, BinaryIO] = OrderedDict()

    def close(self) -> None:
        """Close what is open."""
        while self._open:
            self._open.popitem()[1].close()

    def position_at(self, moment_ns: int) -> Optional[Position]:
        """Return the position before the first line that is not earlier, or after the last line; None without a segment.

        Where the lines of all streams are mixed, it is some minutes before.
        """
        segments = self._source.segments(self._stream)
        for segment in within(segments, Window(moment_ns)):
            since_ns = Window(moment_ns).widened(segment).since_ns
            file = self._file(segment)
            if file is None or since_ns is None:
                continue
            size = whole_size(file.fileno())
            offset = offset_of(reading(file.fileno()), size, since_ns)
            if offset < size:
                return Position(segment, offset)
        return self.end()

    def position_after(self, moment_ns: int) -> Optional[Position]:
        """Return the position after the last line that is not later; None without a segment.

        Where the lines of all streams are mixed, it is some minutes after.
        """
        is_mixed = any(segment.stream == MIXED for segment in self._source.segments(self._stream))
        return self.position_at(moment_ns + (2 * MARGIN_NS if is_mixed else 1))

    def end(self) -> Optional[Position]:
        """Return the position after the last line that is there now; None without a segment."""
        for segment in reversed(self._source.segments(self._stream)):
            file = self._file(segment)
            if file is not None:
                return Position(segment, whole_size(file.fileno()))
        return None

    def forward(self, position: Position) -> Iterator[PlacedLine]:
        """Yield the lines that follow a position, in order."""
        for segment, start in self._following(position):
            file = self._file(segment)
            if file is None:
                continue
            size, at, step = whole_size(file.fileno()), start, _FIRST
            while at < size:
                data = os.pread(file.fileno(), min(step, size - at), at)
                end = data.rfind(b"\n") + 1
                step = _next(step, came=end)
                for line in lines_of(data[:end]) if end else ():
                    begin, at = at, at + len(line)
                    if self._is_own(line, segment):
                        yield PlacedLine(line, Position(segment, begin), Position(segment, at))

    def backward(self, position: Position) -> Iterator[PlacedLine]:
        """Yield the lines that precede a position, the newest first."""
        for segment, end in self._preceding(position):
            file = self._file(segment)
            if file is None:
                continue
            at, step = whole_size(file.fileno()) if end is None else end, _FIRST
            while at > 0:
                start = max(0, at - step)
                data = os.pread(file.fileno(), at - start, start)
                # The first line of a block is whole only where the block begins at the segment's beginning.
                cut = (data.find(b"\n") + 1 or len(data)) if start else 0
                step = _next(step, came=len(data) - cut)
                for line in reversed(lines_of(data[cut:])) if cut < len(data) else ():
                    after, at = at, at - len(line)
                    if self._is_own(line, segment):
                        yield PlacedLine(line, Position(segment, at), Position(segment, after))

    def _following(self, position: Position) -> Iterator[tuple[Segment, int]]:
        segments = self._source.segments(self._stream)
        keys = [segment.key for segment in segments]
        first = keys.index(position.segment.key) if position.segment.key in keys else None
        if first is None:  # it is gone, and what follows is what was made later
            born = position.segment.born_ns or 0
            yield from ((segment, 0) for segment in segments if (segment.born_ns or 0) > born)
            return
        yield segments[first], position.offset
        yield from ((segment, 0) for segment in segments[first + 1 :])

    def _preceding(self, position: Position) -> Iterator[tuple[Segment, Optional[int]]]:
        segments = self._source.segments(self._stream)
        keys = [segment.key for segment in segments]
        if position.segment.key not in keys:
            return
        last = keys.index(position.segment.key)
        yield segments[last], position.offset
        yield from ((segment, None) for segment in reversed(segments[:last]))

    def _is_own(self, line: bytes, segment: Segment) -> bool:
        return segment.stream != MIXED or self._stream == MIXED or self._wanted in line

    def _file(self, segment: Segment) -> Optional[BinaryIO]:
        """Return the text of a segment as a file that can seek; None when it can't be read."""
        file = self._open.pop(segment.key, None)
        if file is None:
            try:
                file = _seekable(segment)
            except OSError:
                return None
        self._open[segment.key] = file
        while len(self._open) > _OPEN:
            self._open.popitem(last=False)[1].close()
        return file


def _next(step: int, *, came: int) -> int:
    """Return how much to read next; more than ever where not even one line was whole."""
    return min(_CHUNK, 4 * step) if came else 4 * step


def _seekable(segment: Segment) -> BinaryIO:
    file = segment.open()
    if file.seekable():
        return file
    with file:
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open
        try:
            shutil.copyfileobj(file, copy, _CHUNK)
            copy.flush()
        except BaseException:
            copy.close()
            raise
    return copy
