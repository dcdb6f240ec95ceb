"""Reading streams back: forwards line by line as an agent does, backwards from the newest line, or only for certain events."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Collection, Generator, Iterable, Iterator

from sqmon.storage.segment_names import in_order

_CHUNK = 1 << 20  # bytes that are read at once
_BLOCK = 4096  # bytes that the smallest file counts for


def segments(log_dir: Path, metric: str) -> list[Path]:
    """Return the segments of one stream in the order in which they were written."""
    directory = log_dir / metric
    return [directory / name for name in _segment_names(directory)]


def all_segments(log_dir: Path) -> dict[str, list[str]]:
    """Return the names of the segments of every stream of the directory, in the order in which they were written."""
    try:
        with os.scandir(log_dir) as entries:
            directories = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return {}
    found = {name: _segment_names(log_dir / name) for name in directories}
    return {stream: names for stream, names in found.items() if names}


def _segment_names(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            # To open a pipe that somebody has put there would wait for ever.
            return in_order(directory.name, (entry.name for entry in entries if entry.is_file(follow_symlinks=False)))
    except OSError:
        return []


class StreamReader:
    """Follows one stream through all its segments, like an agent: each line once, half-written ones not until they are whole."""

    def __init__(self, log_dir: Path, metric: str, *, skip: Collection[Path] = ()) -> None:
        self.torn = 0
        """Unfinished or broken lines in segments that nobody writes to any more."""
        self._log_dir = log_dir
        self._metric = metric
        self._done = set(skip)
        self._offsets: dict[Path, int] = {}

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the records that were added since the last call."""
        paths = [path for path in segments(self._log_dir, self._metric) if path not in self._done]
        for path in paths:
            try:
                file = path.open("rb")
            except FileNotFoundError:  # retention has deleted it meanwhile
                continue
            offset = self._offsets.get(path, 0)
            with file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    offset += len(line)
                    try:
                        yield json.loads(line)
                    except ValueError:
                        self.torn += 1
                else:
                    line = b""
            self._offsets[path] = offset
            # The next segment is opened before this one is closed, so this one is complete only when a later one has lines.
            if path is not paths[-1]:
                self._done.add(path)
                self.torn += bool(line)


class BackwardReader:
    """The whole lines of files that are given newest first, from the last line to the first, within a bound.

    What follows the last newline of a file is left out: it is half a line. Small files count as a block of the disk, so
    that there can't be very many of them within the bound.
    """

    def __init__(self, paths: Iterable[Path], *, max_bytes: int) -> None:
        self.complete = False
        """Whether everything has been read, so that what was not found is not there."""
        self._paths = paths
        self._left = max_bytes

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines without their newlines. A file that can't be read is passed over and leaves the reading incomplete."""
        complete = True
        for path in self._paths:
            if self._left <= 0:
                return
            after_block = max(0, self._left - _BLOCK)
            try:
                with path.open("rb") as file:
                    whole = yield from self._lines(file.fileno())
            except FileNotFoundError:  # retention has deleted it meanwhile
                continue
            except OSError:
                whole = False
            complete = complete and whole
            self._left = min(self._left, after_block)
        self.complete = complete

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

    The others are passed over unparsed, at some gigabytes a second.
    """
    wanted = b'"event":"%b"' % event.encode()
    rest = b""
    with path.open("rb") as file:
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
