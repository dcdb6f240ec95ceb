"""Sources: whatever has segments to be read, such as the directory of a service, a single file, or a bundle.

All readers take a `Source`. To read a new kind of place, implement `Source` and `Segment`; the readers follow.
"""

from __future__ import annotations

import abc
import contextlib
import io
import os
from typing import BinaryIO, Hashable, NamedTuple, Optional

MIXED = ""
"""The stream of a segment in which the lines of all streams stand, as in the single file of file-only mode."""


class Segment(abc.ABC):
    """One file of lines, in whichever form it is kept."""

    stream: str
    """The stream whose lines it has, or MIXED."""
    name: str
    """What people and seals call it, as `show_locks/show_locks-20261124T153050.123456Z-000017.jsonl`."""
    born_ns: Optional[int] = None
    """When it was made, in nanoseconds since 1970, where its name says so. Its first line may be of a poll that began before."""

    @property
    def seekable(self) -> bool:
        """Whether opening it costs the same at any offset; an archive has to be decompressed up to there."""
        return False

    @property
    def key(self) -> Hashable:
        """What identifies the segment from one listing to the next, even when it has been renamed or compressed in between."""
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Segment) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def version(self) -> Hashable:
        """What is another one whenever the content may have changed; raises FileNotFoundError when the segment is gone, and OSError."""
        with self.open() as file:
            with contextlib.suppress(io.UnsupportedOperation):
                status = os.fstat(file.fileno())
                return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
            return self.key, self.size(), self.ended_by_ns

    @property
    def ended_by_ns(self) -> Optional[int]:
        """A time in nanoseconds since 1970 that no line is later than; None while that is unknown."""
        return None

    @abc.abstractmethod
    def size(self) -> int:
        """Return the bytes of the lines, not compressed; raises FileNotFoundError when the segment is gone, and OSError."""

    @abc.abstractmethod
    def open(self, offset: int = 0) -> BinaryIO:
        """Open the lines from an offset on, to be read forwards; a seekable segment gives a file that can seek.

        Raises FileNotFoundError when the segment is gone, and OSError when it can't be read, as does each read of a broken archive.
        """

    @abc.abstractmethod
    def last_line(self) -> bytes:
        """Return the last whole line without its newline, b"" when there is none; raises as `open`."""


class Position(NamedTuple):
    """A position between two lines: an offset in a segment."""

    segment: Segment
    offset: int


class Source(abc.ABC):
    """A place with streams; each is the sequence of its segments."""

    name: str
    """What people call it: a path."""
    grows: bool = False
    """Whether a service may still add lines."""

    @abc.abstractmethod
    def streams(self) -> list[str]:
        """Return the names of the streams in alphabetical order; [MIXED] when all lines stand in the same files."""

    @abc.abstractmethod
    def segments(self, stream: str) -> list[Segment]:
        """Return the segments that have lines of a stream in the order in which they were written, those that are MIXED among them."""


_CHUNK = 1 << 20  # bytes that are read at once
_TAIL = 1 << 16  # bytes, in which there is at least one whole line


def tail_line(descriptor: int) -> bytes:
    """Return the last whole line of a file of lines, b"" when there is none; raises OSError."""
    end = whole_size(descriptor)
    return os.pread(descriptor, min(end, _TAIL), max(0, end - _TAIL))[:-1].rpartition(b"\n")[2]


def whole_size(descriptor: int) -> int:
    """Return how many bytes a file has up to the end of its last whole line; raises OSError."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _TAIL)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def skip(file: BinaryIO, offset: int) -> None:
    """Go on to an offset of a file that has just been opened, whether it can seek or not; raises OSError."""
    if file.seekable():
        file.seek(offset)
        return
    while offset > 0:
        offset -= len(file.read(min(offset, _CHUNK))) or offset


def lines_of(data: bytes) -> list[bytes]:
    """Return the lines of a piece of whole lines, each with its newline."""
    return [line + b"\n" for line in data[:-1].split(b"\n")]
