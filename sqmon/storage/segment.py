"""A segment while it is being written: its descriptor, its counts, its checksum."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
from typing import TYPE_CHECKING

from sqmon.records.encoder import MAX_LINE
from sqmon.storage.archive import card_of
from sqmon.storage.checksum import Checksum
from sqmon.storage.permissions import create_file, make_directory, sync_directory
from sqmon.storage.segment_names import NO_SEGMENT, SegmentName, newest, newest_archived, stored

if TYPE_CHECKING:
    from pathlib import Path

    from sqmon.clock import Clock

_TS = re.compile(rb'\{"ts":"([0-9T:-]{19})\.([0-9]{9})Z"')
_NEWLINE = ord("\n")
_TRIES = 1000  # names that other processes may have taken in the same microsecond


class Segment:
    """A file that this process created and that only this process appends to."""

    def __init__(self, path: Path, descriptor: int, opened_at: float) -> None:
        self.path = path
        self._text_path = str(path)
        self.size = 0
        self.lines = 0
        self.torn = 0  # bytes after the last newline
        self.last_ts = b""
        """Of the last line, which may be unfinished."""
        self.ranges: list[tuple[int, int]] = []  # first and last seq of each run without holes; a full disk makes holes
        self.opened_at = opened_at  # on the monotonic clock
        self.synced_at = opened_at
        self._descriptor = descriptor
        self.sha256 = ""
        """The checksum of all bytes in hexadecimal, after `close`."""
        self._checksum = Checksum()
        self._dirty = False
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)
        self._synced_name = False

    def write(self, data: memoryview) -> int:
        """Write with one system call and return how many bytes were written, at least one; raises OSError."""
        size = os.write(self._descriptor, data)
        self._checksum.update(data[:size])
        self.size += size
        whole = size if data[size - 1] == _NEWLINE else bytes(data[:size]).rfind(b"\n") + 1
        self.torn = size - whole if whole else self.torn + size
        self._dirty = True
        return size

    def pause(self) -> None:
        """Let go of what is kept of the lines written so far, since nothing may be written for a while."""
        self._checksum.pause()

    def count(self, lines: int, first_seq: int) -> None:
        """Count `lines` more complete lines, from `first_seq` on."""
        if lines:
            self.lines += lines
            last_seq = first_seq + lines - 1
            if self.ranges and self.ranges[-1][1] + 1 == first_seq:
                first_seq = self.ranges.pop()[0]
            self.ranges.append((first_seq, last_seq))

    def is_ours(self) -> bool:
        """Return whether the path still leads to this file and nobody else has changed its size."""
        try:
            status = os.lstat(self._text_path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # the descriptor still works although the directory may not be searched
        return (status.st_dev, status.st_ino) == self._identity and status.st_size == self.size

    def fate(self) -> str:
        """Return what others did that lost lines of this file, in words; empty if its lines still exist."""
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return ""
        if status.st_nlink == 0:
            return f"{self.path.name} was deleted by another process"
        if status.st_size < self.size:
            return f"{self.path.name} was truncated by another process"
        return ""

    def sync(self, now: float) -> None:
        """Ask the disk to keep what was written; raises OSError."""
        self.synced_at = now
        if self._dirty:
            os.fsync(self._descriptor)
            self._dirty = False
        if not self._synced_name:
            sync_directory(self.path.parent)
            self._synced_name = True

    def close(self) -> None:
        """Close the descriptor and finish the checksum; an empty file is removed, because it would only cost the agent time."""
        self.sha256 = self._checksum.hexdigest()
        if not self.size and self.is_ours():
            with contextlib.suppress(OSError):
                self.path.unlink()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def open_segment(log_dir: Path, metric: str, after: SegmentName, clock: Clock) -> tuple[Segment, SegmentName]:
    """Create the next segment, with a higher number than `after` and than all in its directory; raises OSError."""
    directory = log_dir / metric
    make_directory(log_dir)
    make_directory(directory)
    last = after if after > NO_SEGMENT else newest_archived(log_dir, metric)  # later on, only older ones can be compressed
    for _ in range(_TRIES):
        last = max(last, newest(directory, metric))
        name = last.following(clock.time_ns())
        path = directory / name.text(metric)
        try:
            descriptor = create_file(path, os.O_WRONLY)
        except FileExistsError:
            continue
        return Segment(path, descriptor, clock.monotonic()), name
    raise FileExistsError(f"{directory}: {_TRIES} names in a row are taken")


def newest_ns(log_dir: Path, metric: str) -> int:
    """Return the `ts` of the last whole line in the metric's segments, in nanoseconds since 1970; 0 if there is none."""
    try:
        for name in reversed(stored(log_dir, metric)):
            match = _TS.match(_last_line(log_dir / metric / name))
            if match:
                moment = dt.datetime.fromisoformat(f"{match[1].decode()}+00:00")
                return int(moment.timestamp()) * 10**9 + int(match[2])
    except (OSError, ValueError):
        pass
    return 0


def _last_line(path: Path) -> bytes:
    """Return the last whole line of a segment, or its beginning; raises OSError."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2 * MAX_LINE))
            return file.read().rpartition(b"\n")[0].rpartition(b"\n")[2]
    except FileNotFoundError:
        return card_of(path).last_line.encode()


def point_current(log_dir: Path, metric: str, segment: Path) -> None:
    """Make `current/<metric>` a link to the segment, for `tail -F`; it is no failure if that is impossible."""
    link = log_dir / "current" / metric
    fresh = link.with_name(f".{metric}.{os.getpid()}")
    with contextlib.suppress(OSError):
        make_directory(link.parent)
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        fresh.symlink_to(_target(metric, segment))
        fresh.replace(link)


def drop_current(log_dir: Path, metric: str, segment: Path) -> None:
    """Remove `current/<metric>` if it leads to this segment, which nobody appends to any more."""
    link = log_dir / "current" / metric
    with contextlib.suppress(OSError):
        if os.readlink(link) == _target(metric, segment):  # noqa: PTH115 - a text is compared
            link.unlink()


def _target(metric: str, segment: Path) -> str:
    return f"../{metric}/{segment.name}"
