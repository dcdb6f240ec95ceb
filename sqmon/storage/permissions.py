"""Files and directories as the service makes them: its user writes, its group (with the agent in it) reads, others see nothing."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

DIRECTORY_MODE = 0o750
FILE_MODE = 0o640


def share_with_group() -> None:
    """Give everything that this process and its children create from now on the modes above, whatever the umask was.

    A later chmod does not replace it: some file systems (CIFS) refuse it, and it can remove the setgid bit.
    """
    os.umask(0o777 & ~DIRECTORY_MODE)


def make_directory(path: Path) -> None:
    """Create the directory, and what is missing above it, unless it exists; raises OSError."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(DIRECTORY_MODE)


def create_file(path: Path, flags: int) -> int:
    """Create a file that must not exist yet, not even as a link, and return its descriptor; raises OSError."""
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)


def sync_directory(path: Path) -> None:
    """Ask the disk to keep the names in a directory; raises OSError, except where the file system (CIFS) doesn't know that request."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
