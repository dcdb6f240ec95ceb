"""The reader of a stream: forward, line by line, as an agent reads.

A segment is known by the path that it was written under. Where it has been compressed since, `opened` finds its archive.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any, BinaryIO, Collection, Generator, Hashable, Iterator, NamedTuple, Optional, Union

import msgspec

from sqmon.storage.archive import open_archive
from sqmon.storage.file_sources import DirectorySource
from sqmon.storage.findings import Findings
from sqmon.storage.seek import ALWAYS, Window, begin, cut, end_of, is_after, within
from sqmon.storage.segment_names import archive_of, in_order, stored
from sqmon.storage.source import MIXED, Position, Segment, Source, lines_of

_decode = msgspec.json.Decoder(dict).decode  # three times as fast as json, and what it refuses is a ValueError, too
_CHUNK = 1 << 16  # bytes that are read at once: while lines are asked for, those of one chunk are in memory twice


def segments(log_dir: Path, metric: str, *, archived: bool = True) -> list[Path]:
    """Return the segments of one stream in the order in which they were written, those that are `archived` among them."""
    directory = log_dir / metric
    return [directory / name for name in stored(log_dir, metric, archived=archived)]


def opened(segment: Path) -> BinaryIO:
    """Open a segment to be read forwards, whatever its form is now.

    Raises FileNotFoundError when it is gone, and OSError when it can't be read; so does every read where an archive is broken.
    """
    try:
        return segment.open("rb")
    except FileNotFoundError:
        return open_archive(archive_of(segment))


class Place(NamedTuple):
    """Where a line of a stream begins, in a form that can be written down."""

    segment: str
    """The file name of the segment."""
    offset: int


class StreamReader:
    """Follows one stream through all its segments, like an agent: each line once, half-written ones not until they are whole.

    Within a segment, the first line of a range of time is found by bisecting; segments outside of the range are not read.
    """

    def __init__(
        self,
        place: Union[Path, Source],
        stream: str,
        *,
        skip: Collection[Hashable] = (),
        start: Optional[Place] = None,
        window: Window = ALWAYS,
        findings: Optional[Findings] = None,
    ) -> None:
        """Read a directory of segments, or another source, from `start` on and without the segments whose keys are in `skip`.

        With `findings`, what can't be read is noted there instead of raised, and so is every hole in `seq`. MIXED as the stream is all
        lines of a source whose lines are mixed.
        """
        self.place = start
        """Where the line after the newest that `read` has given begins; None before the first."""
        self.torn = 0
        """Unfinished or broken lines in segments that nobody writes to any more."""
        self._source = place if isinstance(place, Source) else DirectorySource(place)
        self._stream = stream
        self._window = window
        self._findings = findings
        self._done = set(skip)
        self._offsets: dict[Hashable, int] = {}
        self._has_begun = False
        self._piece = Place("", 0)  # where the newest piece begins
        if start is not None:
            self._start_at(start)

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the records that were added since the last call; raises OSError."""
        for data in self.pieces():
            name, offset = self._piece
            for line in data[:-1].split(b"\n"):
                offset += len(line) + 1
                self.place = Place(name, offset)
                record = _record(line)
                if record is None:
                    self._tear()
                else:
                    yield record

    def pieces(self) -> Iterator[bytes]:
        """Yield the lines that were added since the last call, in pieces of whole lines; raises OSError.

        A piece counts as read when the next one is asked for.
        """
        segments = self._to_read()
        for segment in segments:
            is_torn = False
            try:
                is_torn = yield from self._pieces_of(segment)
            except FileNotFoundError:  # retention has deleted it meanwhile
                pass
            except OSError as error:
                if self._findings is None:
                    raise
                self._findings.note_unreadable(segment.name, error)
            # The next segment is opened before this one is closed, so this one is complete only when there is a later one.
            if segment is not segments[-1] or not self._source.grows:
                self._done.add(segment.key)
                if is_torn:
                    self._tear()

    def start_at_end(self) -> Optional[Position]:
        """Leave out the lines that are there now, and return where the first one is going to be that is read; None without a segment."""
        segments = self._source.segments(self._stream)
        self._has_begun = True
        self._done.update(segment.key for segment in segments[:-1])
        if not segments:
            return None
        position = end_of(segments[-1])
        self._offsets[segments[-1].key] = position.offset
        return position

    def _start_at(self, place: Place) -> None:
        names = {segment.key: PurePath(segment.name).name for segment in self._source.segments(self._stream)}
        # The segment itself may have been deleted meanwhile.
        ordered = in_order(self._stream, {*names.values(), place.segment})
        earlier = {*ordered[: ordered.index(place.segment)]}
        self._done.update(key for key, name in names.items() if name in earlier)
        self._offsets.update((key, place.offset) for key, name in names.items() if name == place.segment)

    def _to_read(self) -> list[Segment]:
        """Return the segments that may have lines that have not been read, in order."""
        segments = [segment for segment in self._source.segments(self._stream) if segment.key not in self._done]
        if not self._has_begun:
            self._has_begun = True
            wanted = {segment.key for segment in within(segments, self._window)}
            # The newest may still get lines of the range.
            self._done.update(segment.key for segment in segments[:-1] if segment.key not in wanted)
            segments = [segment for segment in segments if segment.key not in self._done]
        return segments

    def _pieces_of(self, segment: Segment) -> Generator[bytes, None, bool]:
        """Yield what was added to a segment, and return whether half a line is left at its end."""
        offset = self._offsets.get(segment.key)
        if offset is None:
            offset = begin(segment, self._window)
        elif segment.size() <= offset:
            return False
        rest = b""
        with segment.open(offset) as file:
            for data in iter(lambda: file.read(_CHUNK), b""):
                end = data.rfind(b"\n") + 1
                if not end:
                    rest += data
                    continue
                whole, rest = rest + data[:end], data[end:]
                wanted = self._own(whole, segment)
                if wanted:
                    if self._findings is not None:
                        self._findings.check(wanted, segment)
                    self._piece = Place(PurePath(segment.name).name, offset + max(0, whole.find(wanted)))
                    yield wanted
                offset += len(whole)
                self._offsets[segment.key] = offset
                if is_after(whole, segment, self._window):
                    return False
        return bool(rest)

    def _own(self, data: bytes, segment: Segment) -> bytes:
        """Return the lines that are of the stream and within the window."""
        data = cut(data, segment, self._window)
        if segment.stream != MIXED or self._stream == MIXED:
            return data
        wanted = b'"metric":"%b"' % self._stream.encode()
        return b"".join(line for line in lines_of(data) if wanted in line)

    def _tear(self) -> None:
        self.torn += 1
        if self._findings is not None:
            self._findings.torn += 1


def _record(line: bytes) -> Optional[dict[str, Any]]:
    try:
        return _decode(line)
    except ValueError:
        return None
