"""The writer of a single file for the lines of all workers, rotated when it is full, for sites without an agent."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Callable, Optional

from sqmon.clock import Clock
from sqmon.errors import reason_of
from sqmon.records.encoder import MAX_LINE
from sqmon.storage.buffered_writer import BufferedWriter
from sqmon.storage.file_lock import FileLock
from sqmon.storage.permissions import FILE_MODE, create_file, make_directory
from sqmon.storage.writer import Dropped

_FSYNC_S = 5.0
_PATIENCE_S = 0.2  # others hold the lock for one write, which takes longer while the disk is full
_LINE_START = b'{"ts":"'


def numbered(path: Path, number: int) -> Path:
    """The file that `path` has become after `number` rotations."""
    return path.with_name(f"{path.name}.{number}") if number else path


class SingleFileWriter(BufferedWriter):
    """A LineWriter for `path`, which any number of processes may append to at the same time through this class.

    The lines of one batch stay together but for a rotation between two of them. A file that would exceed `max_bytes`
    becomes PATH.1, that one PATH.2, and so on to PATH.<backups>. If the file is moved away (logrotate), its lines go with
    it, and the next ones start a new file. Half a line is cut off at once when the disk is full; the half line of a
    killed process is cut off by the next append of any process.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        on_dropped: Callable[[Dropped], None],
        max_bytes: int = 64 * 1024 * 1024,
        backups: int = 7,
        buffer_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        # Rotation would rename a link and leave its target.
        self._path = Path(os.path.realpath(path))
        super().__init__(self._path.name, buffer_bytes, clock=clock, on_dropped=on_dropped)
        self._max_bytes = max_bytes
        self._backups = max(0, backups)
        self._lock = FileLock(self._path.with_name(f"{self._path.name}.lock"), FILE_MODE)
        self._descriptor: Optional[int] = None
        self._size = 0  # of the file; valid while the lock is held
        self._dirty_since: Optional[float] = None
        self._seen: Optional[tuple[int, int]] = None

    @property
    def path(self) -> Optional[Path]:
        """See LineWriter."""
        return self._path if self._descriptor is not None else None

    def tick(self) -> None:
        """Retry what is waiting, fsync every five seconds, and let go of a file that was moved or deleted."""
        self._flush()
        if self._dirty_since is not None and self._clock.monotonic() - self._dirty_since >= _FSYNC_S:
            self._sync()
        if not self._is_the_file():
            self._leave()

    def close(self) -> None:
        """See LineWriter."""
        self._finish()
        self._sync()
        self._leave()
        self._lock.close()

    def _write_some(self) -> None:
        make_directory(self._path.parent)
        try:
            self._lock.acquire(self._patience())
            try:
                self._append_some(self._usable())
            finally:
                self._lock.release()
        except OSError as error:
            if error.errno == errno.EBADF:
                self._descriptor = None  # other code has closed this descriptor or that of the lock
                self._lock.forget()
            raise

    def _patience(self) -> float:
        """Return how long to wait for the lock: not at all if nobody has written since the last failure."""
        if not self._reason:
            return _PATIENCE_S
        before, self._seen = self._seen, self._state()
        return 0.0 if self._seen == before else _PATIENCE_S

    def _state(self) -> Optional[tuple[int, int]]:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size

    def _append_some(self, descriptor: int) -> None:
        """Append whole lines with one write, while the lock is held; raises OSError."""
        data = self._backlog.head.data
        end = len(data)
        room = max(0, self._max_bytes - self._size)
        if end > room:
            end = data.rfind(b"\n", 0, room) + 1
            if not end:
                if self._size and not self._rotate():
                    end = len(data)
                else:
                    descriptor = self._usable()
                    end = data.rfind(b"\n", 0, self._max_bytes) + 1 or data.index(b"\n") + 1
        size = os.write(descriptor, memoryview(data)[:end])
        whole = data.rfind(b"\n", 0, size) + 1
        self._size += whole
        if self._dirty_since is None:
            self._dirty_since = self._clock.monotonic()
        if whole:
            self._backlog.written(whole)
        if size > whole:
            # Other processes must not wait until this one can complete its line. If the cut fails, the next append makes it.
            os.ftruncate(descriptor, self._size)
        if not whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _usable(self) -> int:
        """Return the descriptor of the current file, which then ends with a whole line; raises OSError."""
        if self._descriptor is None or not self._is_the_file():
            self._leave()
            self._descriptor = self._open()
        self._size = os.fstat(self._descriptor).st_size
        self._repair_end(self._descriptor)
        return self._descriptor

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return create_file(self._path, os.O_RDWR)

    def _repair_end(self, descriptor: int) -> None:
        """Cut off the half line of a killed process, and add a newline to text that isn't ours."""
        if not self._size or os.pread(descriptor, 1, self._size - 1) == b"\n":
            return
        tail = os.pread(descriptor, MAX_LINE, max(0, self._size - MAX_LINE))
        half = tail[tail.rfind(b"\n") + 1 :]
        if half.startswith(_LINE_START[: len(half)]):
            self._size -= len(half)
            os.ftruncate(descriptor, self._size)
        else:
            self._size += os.write(descriptor, b"\n")

    def _rotate(self) -> bool:
        """Rename the files; return False if that is impossible, because a long file is better than a lost line."""
        try:
            if not self._backups:
                self._path.unlink()
            last = next((number for number in range(1, self._backups) if not self._numbered(number).exists()), self._backups)
            for number in range(min(last, self._backups), 0, -1):
                self._numbered(number - 1).replace(self._numbered(number))
        except OSError as error:
            self._warning = f"can't be rotated: {reason_of(error)}"
            return False
        self._warning = ""
        return True

    def _numbered(self, number: int) -> Path:
        return numbered(self._path, number)

    def _is_the_file(self) -> bool:
        if self._descriptor is None:
            return False
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # the descriptor still works although the directory may not be searched

    def _sync(self) -> None:
        self._dirty_since = None
        if self._descriptor is not None:
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                self._warning = f"may not survive a power loss: {reason_of(error)}"

    def _leave(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
