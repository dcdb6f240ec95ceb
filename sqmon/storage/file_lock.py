"""A lock between processes, in a file beside the one that it protects."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Optional

_PAUSE_S = 0.0002


class FileLock:
    """Held by one process at a time; the kernel releases it when that process ends, in whatever way."""

    def __init__(self, path: Path, mode: int) -> None:
        self.held = False
        self._path = path
        self._mode = mode
        self._descriptor: Optional[int] = None

    def acquire(self, patience_s: float) -> None:
        """Take the lock; raises OSError, EWOULDBLOCK when another process keeps it for longer than that."""
        deadline = time.monotonic() + patience_s
        while not self.held:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, self._mode)
            try:
                # This never waits in the kernel: a stopped process that holds the lock must not stop this one.
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OSError(errno.EWOULDBLOCK, f"{self._path.name} is held by another process") from None
                time.sleep(_PAUSE_S)
                continue
            self.held = True
            if not self._is_the_file():
                self.close()  # the file was removed, so others may hold a new one

    def release(self) -> None:
        """Release the lock."""
        if self.held and self._descriptor is not None:
            self.held = False
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def forget(self) -> None:
        """Open the file again next time, without closing a descriptor that other code has closed and may be using by now."""
        self.held, self._descriptor = False, None

    def close(self) -> None:
        """Release the lock and close the file, which stays for the other processes."""
        self.held = False
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _is_the_file(self) -> bool:
        assert self._descriptor is not None
        try:
            return os.path.samestat(self._path.lstat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False
