"""The lock of a log directory: only one service writes to it, and anybody can ask whether one does."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Optional

from sqmon.errors import SqmonError, reason_of
from sqmon.storage.permissions import FILE_MODE, make_directory

NAME = ".lock"
_TRIES = 20  # `is_locked` holds the lock for a moment when it asks
_PAUSE_S = 0.02
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class DirectoryLock:
    """Held while the `with` statement lasts; the kernel releases it when the process ends, in whatever way.

    The directory itself is locked as well, if the file system supports that: a lock file can be removed, and the next
    service would create another one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._place = -1
        self._file = -1

    def __enter__(self) -> DirectoryLock:
        """Take the lock. Raises SqmonError when the directory can't be written to, or with the process id of the service that has it."""
        try:
            self._take()
        except BlockingIOError:
            raise SqmonError(
                f"{self._directory}: sqmon is already running here{self._holder()}; stop it or give another --log_dir"
            ) from None
        except OSError as error:
            raise SqmonError(f"{self._directory}: can't be written to: {reason_of(error)}; give another --log_dir") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def renew(self) -> str:
        """Take the lock again if somebody has removed, moved or replaced the directory or the file; call it every second or so.

        Returns what was found, in words, or "". Raises SqmonError when another service has the directory by now, and
        OSError when the directory can't be locked or created, so that the next call has to try again.
        """
        found = ""
        if self._place < 0 or not _is(self._directory, self._place):
            found = f"{self._directory} was removed or replaced; the lock was taken again"
        elif self._file >= 0 and not _is(self._directory / NAME, self._file):
            found = f"{self._directory / NAME} was removed or replaced; the lock was taken again"
        elif self._file >= 0:
            return ""
        try:
            self._take()
        except BlockingIOError:
            raise SqmonError(f"{self._directory}: another sqmon{self._holder()} has taken over; this one ends") from None
        return found

    def _take(self) -> None:
        """Lock the current directory and file; raises OSError, BlockingIOError if another process holds one of them."""
        with contextlib.ExitStack() as undo:
            if self._place < 0 or not _is(self._directory, self._place):
                self.release()
                make_directory(self._directory)
                place = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                undo.callback(os.close, place)
                exclusive = _lock_directory(place)
            else:
                place, exclusive = self._place, True
            file = self._locked_file(optional=exclusive)
            undo.pop_all()
        if self._file >= 0:
            os.close(self._file)
        self._place, self._file = place, file

    def _locked_file(self, *, optional: bool) -> int:
        """Return the descriptor of the lock file; -1 if it is `optional` and can't be created because the disk is full."""
        path = self._directory / NAME
        while True:
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
            except OSError as error:
                if optional and error.errno in _FULL:
                    return -1
                raise
            with contextlib.ExitStack() as undo:
                undo.callback(os.close, file)
                _lock(file)
                if not _is(path, file):
                    continue
                undo.pop_all()
            with contextlib.suppress(OSError):  # on a full disk, messages lack the process id
                os.ftruncate(file, 0)
                os.pwrite(file, b"%d\n" % os.getpid(), 0)
            return file

    def _holder(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            return f" (pid {int((self._directory / NAME).read_bytes()[:32])})"
        return ""

    def release(self) -> None:
        """Let others have the directory; a lock that isn't held stays so."""
        for descriptor in (self._place, self._file):
            if descriptor >= 0:
                os.close(descriptor)
        self._place = self._file = -1


def is_locked(directory: Path) -> bool:
    """Return whether a service holds the directory; only a lock that is held proves that its holder lives.

    Raises SqmonError when this user may not read what would have to be asked.
    """
    answers = [_is_held(path) for path in (directory / NAME, directory)]
    if not any(answers) and None in answers:
        raise SqmonError(f"{directory}: this user may not read it; ask as a member of its group")
    return any(answers)


def _is_held(path: Path) -> Optional[bool]:
    """Return whether another process has locked the file or directory; None if this user may not even open it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return None if isinstance(error, PermissionError) else False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    else:
        return False
    finally:
        os.close(descriptor)


def _lock_directory(descriptor: int) -> bool:
    """Return whether the file system can lock a directory; raises BlockingIOError when another process has it."""
    try:
        _lock(descriptor)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _lock(descriptor: int) -> None:
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_PAUSE_S)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is(path: Path, descriptor: int) -> bool:
    """Return whether the path leads to the file that is open as `descriptor`; raises OSError."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
