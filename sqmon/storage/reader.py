"""Readers of streams: forward line by line as an agent reads, backward from the newest line, or only certain events.

A segment is known by the path that it was written under. Where it has been compressed since, `opened` finds its archive.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Collection, Generator, Iterable, Iterator, NamedTuple, Optional

import msgspec

from sqmon.storage.archive import card_of, open_archive
from sqmon.storage.segment_names import ARCHIVE, archive_of, in_order, stored

_decode = msgspec.json.Decoder(dict).decode  # three times as fast as json, and what it refuses is a ValueError, too
_CHUNK = 1 << 20  # bytes that are read at once
_BLOCK = 4096  # bytes that the smallest file counts for


def segments(log_dir: Path, metric: str, *, archived: bool = True) -> list[Path]:
    """Return the segments of one stream in the order in which they were written, those that are `archived` among them."""
    directory = log_dir / metric
    return [directory / name for name in stored(log_dir, metric, archived=archived)]


def all_segments(log_dir: Path, *, archived: bool = True) -> dict[str, list[str]]:
    """Return the names of the segments of every stream of the directory, in the order in which they were written."""
    streams = _directories(log_dir)
    if archived:
        streams |= _directories(log_dir / ARCHIVE)
    found = {stream: stored(log_dir, stream, archived=archived) for stream in sorted(streams)}
    return {stream: names for stream, names in found.items() if names}


def _directories(path: Path) -> set[str]:
    try:
        with os.scandir(path) as entries:
            return {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    except OSError:
        return set()


def opened(segment: Path) -> BinaryIO:
    """Open a segment to be read forwards, whatever its form is now.

    Raises FileNotFoundError when it is gone, and OSError when it can't be read; so does every read where an archive is broken.
    """
    try:
        return segment.open("rb")
    except FileNotFoundError:
        return open_archive(archive_of(segment))


class Place(NamedTuple):
    """Where a line of a stream begins."""

    segment: str
    """The name of the segment."""
    offset: int


class StreamReader:
    """Follows one stream through all its segments, like an agent: each line once, half-written ones not until they are whole."""

    def __init__(self, log_dir: Path, metric: str, *, skip: Collection[Path] = (), start: Optional[Place] = None) -> None:
        """Begin at `start`, or with the oldest segment that is not to be skipped."""
        self.place = start
        """Where the line after the newest that was read begins; None before the first."""
        self.torn = 0
        """Unfinished or broken lines in segments that nobody writes to any more."""
        self._log_dir = log_dir
        self._metric = metric
        self._done = set(skip)
        self._offsets: dict[Path, int] = {}
        if start is not None:
            # The segment itself may have been deleted meanwhile.
            names = in_order(metric, {*stored(log_dir, metric), start.segment})
            self._done.update(log_dir / metric / name for name in names[: names.index(start.segment)])
            self._offsets[log_dir / metric / start.segment] = start.offset

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the records that were added since the last call."""
        paths = [path for path in segments(self._log_dir, self._metric) if path not in self._done]
        for path in paths:
            try:
                file = opened(path)
            except FileNotFoundError:  # retention has deleted it meanwhile
                continue
            offset = self._offsets.get(path, 0)
            with file:
                skip(file, offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    offset += len(line)
                    self.place = Place(path.name, offset)
                    try:
                        yield _decode(line)
                    except ValueError:
                        self.torn += 1
                else:
                    line = b""
            self._offsets[path] = offset
            # The next segment is opened before this one is closed, so this one is complete only when a later one has lines.
            if path is not paths[-1]:
                self._done.add(path)
                self.torn += bool(line)


def skip(file: BinaryIO, offset: int) -> None:
    """Go on to an offset of a file that has just been opened, whether it can seek or not; raises OSError."""
    if file.seekable():
        file.seek(offset)
        return
    while offset > 0:
        offset -= len(file.read(min(offset, _CHUNK))) or offset


class BackwardReader:
    """The whole lines of files that are given newest first, from the last line to the first, within a bound.

    What follows the last newline of a file is left out: it is half a line. Small files count as a block of the disk, so
    that there can't be very many of them within the bound.
    """

    def __init__(self, paths: Iterable[Path], *, max_bytes: int, brief: bool = False) -> None:
        """When that is to be `brief`, of archives of the `sqmon` stream come the lines alone that their cards repeat."""
        self.complete = False
        """Whether everything has been read, so that what was not found is not there."""
        self._paths = paths
        self._left = max_bytes
        self._brief = brief

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines without their newlines. A file that can't be read is passed over and leaves the reading incomplete."""
        complete = True
        for path in self._paths:
            if self._left <= 0:
                return
            after_block = max(0, self._left - _BLOCK)
            try:
                whole = yield from self._lines_of(path)
            except FileNotFoundError:  # retention has deleted it meanwhile
                continue
            except OSError:
                whole = False
            complete = complete and whole
            self._left = min(self._left, after_block)
        self.complete = complete

    def _lines_of(self, path: Path) -> Generator[bytes, None, bool]:
        try:
            plain = path.open("rb")
        except FileNotFoundError:
            return (yield from self._archived_lines(path))
        with plain:
            return (yield from self._lines(plain.fileno()))

    def _archived_lines(self, path: Path) -> Generator[bytes, None, bool]:
        if self._brief:
            for line in reversed(card_of(path).events):
                self._left -= len(line) + 1
                yield line.encode()
            return True
        with open_archive(archive_of(path)) as archive, tempfile.TemporaryFile() as whole:
            shutil.copyfileobj(archive, whole, _CHUNK)
            whole.flush()
            return (yield from self._lines(whole.fileno()))

    def _lines(self, descriptor: int) -> Generator[bytes, None, bool]:
        """Yield the lines of one file, and return whether its beginning was reached."""
        start = os.fstat(descriptor).st_size
        carried = b""  # the first line of what has been read, whose beginning may be missing
        while start > 0 and self._left > 0:
            size = min(start, _CHUNK, self._left)
            start -= size
            self._left -= size
            data = os.pread(descriptor, size, start) + carried
            first = data.find(b"\n") + 1 if start else 0
            if start and not first:
                carried = data
                continue
            carried = data[:first]
            yield from reversed(data[first:].split(b"\n")[:-1])
        return start == 0


def events(path: Path, event: str) -> Iterator[bytes]:
    """Yield the lines of one segment of the `sqmon` stream that tell of `event`, oldest first; raises OSError.

    The others are passed over unparsed, at some gigabytes a second. An archive is not decompressed for that: its card repeats
    all events but polls.
    """
    wanted = b'"event":"%b"' % event.encode()
    rest = b""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield from (line for line in map(_as_line, card_of(path).events) if wanted in line)
        return
    with file:
        while True:
            data = file.read(_CHUNK)
            if not data:
                return
            end = data.rfind(b"\n") + 1
            if not end:
                rest += data
                continue
            data, rest = rest + data[:end], data[end:]
            found = data.find(wanted)
            while found >= 0:
                start, stop = data.rfind(b"\n", 0, found) + 1, data.index(b"\n", found) + 1
                yield data[start:stop]
                found = data.find(wanted, stop)


def _as_line(text: str) -> bytes:
    return text.encode() + b"\n"
