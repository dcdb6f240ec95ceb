"""The check of a --log_file_path before the start: a path that could never be written to is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from sqmon.errors import SqmonError, reason_of
from sqmon.storage.file_lock import FileLock
from sqmon.storage.permissions import FILE_MODE, make_directory

# What nobody changes while the service runs; a full disk or a stopped neighbour that holds the lock is another matter.
_FOR_GOOD = {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}


def refuse_irregular(path: Path) -> None:
    """Raise SqmonError when something else than a regular file is at `path`; nothing is made or opened."""
    # Of the path as it was given: the target of a link to a pipe, as of /dev/stdout, has a name but is not a path.
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - those of Path may raise
        raise SqmonError(f"{path}: is not a regular file; give a file, or a directory with / at its end (--log_file_path)")


def refuse_unusable(path: Path) -> None:
    """Raise SqmonError unless many processes can append to `path`: it is a regular file, or can become one, with room for its lock."""
    refuse_irregular(path)
    place = Path(os.path.realpath(path))
    lock = FileLock(place.with_name(f"{place.name}.lock"), FILE_MODE)
    try:
        make_directory(place.parent)
        lock.acquire(0.0)
        if place.exists():
            os.close(os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        if error.errno in _FOR_GOOD:
            text = f"{path}: can't be written to, or has no room for its lock {place.name}.lock: {reason_of(error)}"
            raise SqmonError(f"{text}; give another --log_file_path") from None
    finally:
        lock.release()
        lock.close()
