"""The single file of file-only mode as a source, with what it has become by rotation."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path
from typing import BinaryIO, Hashable

from sqmon.storage.source import MIXED, Segment, Source, tail_line


class SingleFile(Source):
    """The file of file-only mode and what it has become by rotation: PATH.7 .. PATH.1, PATH. A file with another name stands alone."""

    grows = True

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = Path(os.path.realpath(path))

    def streams(self) -> list[str]:
        """See Source."""
        return [MIXED]

    def segments(self, stream: str) -> list[Segment]:
        """See Source; the files have lines of any stream."""
        del stream
        before, found = None, self._look()
        while before is None or [segment.key for segment in before] != [segment.key for segment in found]:
            before, found = found, self._look()  # a rotation in the middle of a look may have hidden a file
        return [*found]

    def _look(self) -> list[_Rotated]:
        found = []
        for path in reversed(_rotations(self._path)):
            with contextlib.suppress(OSError):
                found.append(_Rotated(self._path, path.name, path.stat()))
        return found


class _Rotated(Segment):
    """A file with the lines of all streams, which rotations rename."""

    stream = MIXED

    def __init__(self, newest: Path, name: str, status: os.stat_result) -> None:
        self.name = name
        self._newest = newest
        self._status = status

    @property
    def seekable(self) -> bool:
        """See Segment."""
        return True

    @property
    def key(self) -> Hashable:
        """See Segment."""
        return self._status.st_dev, self._status.st_ino

    def size(self) -> int:
        """See Segment."""
        with self.open() as file:
            return os.fstat(file.fileno()).st_size

    def open(self, offset: int = 0) -> BinaryIO:
        """See Segment; the file may have another name by now."""
        for path in (self._newest.with_name(self.name), *_rotations(self._newest)):
            with contextlib.suppress(FileNotFoundError):
                file = path.open("rb")
                if os.path.samestat(os.fstat(file.fileno()), self._status):
                    file.seek(offset)
                    return file
                file.close()
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name)

    def last_line(self) -> bytes:
        """See Segment."""
        with self.open() as file:
            return tail_line(file.fileno())


def _rotations(path: Path) -> list[Path]:
    """Return the file and what it has become by rotation, the newest first; raises nothing, whatever the directory is."""
    name = re.compile(rf"{re.escape(path.name)}\.([1-9]\d*)", re.ASCII)
    found: dict[int, Path] = {}
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            match = name.fullmatch(entry.name)
            if match is not None and entry.is_file():
                found[int(match[1])] = Path(entry.path)
    return [path, *(found[number] for number in sorted(found))]
