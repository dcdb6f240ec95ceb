"""The lines of several streams in the order of their times: from the first, the last few, or as they are added."""

from __future__ import annotations

import heapq
import itertools
from typing import Callable, Iterable, Iterator, NamedTuple, Optional, Sequence

from sqmon.cli.logs_filter import Filter
from sqmon.cli.logs_view import Chosen
from sqmon.storage.findings import Findings
from sqmon.storage.reader import StreamReader
from sqmon.storage.seek import TS, Window
from sqmon.storage.source import Position, Source, lines_of
from sqmon.storage.stream_lines import StreamLines


class Stream(NamedTuple):
    """A stream of a source."""

    cluster: str
    source: Source
    name: str


class Wanted(NamedTuple):
    """Which lines are wanted of each stream, and where what is wrong with them is noted."""

    window: Window
    filter: Filter
    findings: Findings

    def reader(self, stream: Stream) -> StreamReader:
        """Return a reader of the lines within the window."""
        return StreamReader(stream.source, stream.name, window=self.window, findings=self.findings)

    def added(self, stream: Stream, reader: StreamReader) -> Iterator[Chosen]:
        """Yield the wanted lines among those that the reader has not read yet."""
        for piece in reader.pieces():
            lines = lines_of(piece) if self.filter.passes_all else self.filter.lines(piece)
            yield from (Chosen(stream.cluster, line) for line in lines)


def forward(streams: Sequence[Stream], wanted: Wanted) -> Iterator[Chosen]:
    """Yield the wanted lines that are there now."""
    return in_order([wanted.added(stream, wanted.reader(stream)) for stream in streams])


def last(streams: Sequence[Stream], wanted: Wanted, count: int, ends: Optional[Sequence[Optional[Position]]] = None) -> list[Chosen]:
    """Return the last of the wanted lines, so many at most; `ends` are where to look from, one for each stream."""
    opened = [StreamLines(stream.source, stream.name) for stream in streams]
    positions = ends if ends is not None else [_end(lines, wanted.window) for lines in opened]
    try:
        backward = [
            _backward(stream, lines, position, wanted)
            for stream, lines, position in zip(streams, opened, positions)
            if position is not None
        ]
        newest = heapq.merge(*backward, key=_stamp, reverse=True)
        return [*itertools.islice(newest, count)][::-1]
    finally:
        for lines in opened:
            lines.close()


class Follower:
    """Gives the wanted lines as they are added, those of streams that are new as well."""

    def __init__(self, wanted: Wanted, streams: Callable[[], Sequence[Stream]]) -> None:
        """`streams` returns those that there are now."""
        self._wanted = wanted
        self._streams = streams
        self._readers: dict[Stream, StreamReader] = {}

    def start_at_end(self, streams: Sequence[Stream], count: int) -> list[Chosen]:
        """Leave out what is there now but for the last lines, so many at most, and return these."""
        ends: list[Optional[Position]] = []
        for stream in streams:
            reader = self._readers[stream] = self._wanted.reader(stream)
            ends.append(reader.start_at_end())
        return last(streams, self._wanted, count, ends)

    def added(self) -> list[Chosen]:
        """Return the wanted lines that were added since the last call, in their order."""
        for stream in self._streams():
            if stream not in self._readers:
                self._readers[stream] = self._wanted.reader(stream)
        found = itertools.chain.from_iterable(self._wanted.added(stream, reader) for stream, reader in self._readers.items())
        return sorted(found, key=_stamp)


def in_order(streams: Sequence[Iterable[Chosen]]) -> Iterator[Chosen]:
    """Yield the lines of several streams by their times."""
    return heapq.merge(*streams, key=_stamp) if len(streams) > 1 else itertools.chain.from_iterable(streams)


def _stamp(chosen: Chosen) -> bytes:
    return chosen.line[TS]


def _end(lines: StreamLines, window: Window) -> Optional[Position]:
    return lines.end() if window.until_ns is None else lines.position_after(window.until_ns)


def _backward(stream: Stream, lines: StreamLines, position: Position, wanted: Wanted) -> Iterator[Chosen]:
    for line in lines.backward(position):
        if wanted.window.begins_after(line.data, line.start.segment):
            return
        if wanted.window.has(line.data) and wanted.filter.passes(line.data):
            yield Chosen(stream.cluster, line.data)
