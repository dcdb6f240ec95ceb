"""The lock of a log directory: one service writes to it, and anybody can ask whether one does."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sqmon.errors import SqmonError

NAME = ".lock"


class DirectoryLock:
    """Held while the `with` statement lasts; the kernel releases it when the process ends, however that ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor = -1

    def __enter__(self) -> None:
        """Take the lock. Raises SqmonError when the directory can't be written to, or with the process id of the service that has it."""
        try:
            self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._descriptor = os.open(self._directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except OSError as error:
            raise SqmonError(f"{self._directory}: can't be written to: {error.strerror}; give another --log_dir") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise SqmonError(
                f"{self._directory}: sqmon is already running here (pid {holder}); stop it or give another --log_dir"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, b"%d\n" % os.getpid())

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def is_locked(directory: Path) -> bool:
    """Return whether a service holds the directory; only a lock that is held proves that its holder lives."""
    try:
        descriptor = os.open(directory / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
