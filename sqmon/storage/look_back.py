"""What a start of the service looks back at: the newest lines of a stream, and the events of a kind.

A segment is known by the path that it was written under, and is read in whichever form it is now.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generator, Iterable, Iterator

from sqmon.storage.archive import card_of, open_archive
from sqmon.storage.segment_names import archive_of

_CHUNK = 1 << 20  # bytes that are read at once
_BLOCK = 4096  # bytes that the smallest file counts for


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
        # Neither the supervisor nor a worker reads an archive, and the two modules bring every kind of compression with them.
        import shutil  # noqa: PLC0415
        import tempfile  # noqa: PLC0415

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
