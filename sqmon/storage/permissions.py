"""Directories and files that the agent's group may read and others may not."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

DIRECTORY_MODE = 0o750
FILE_MODE = 0o640


def make_directory(path: Path) -> None:
    """Make the directory, and what is missing above it, unless it is there; raises OSError."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(DIRECTORY_MODE)
        # Neither the umask nor chmod may take what the parent's setgid bit has given.
        path.chmod(DIRECTORY_MODE | (path.stat().st_mode & stat.S_ISGID))


def create_file(path: Path, flags: int) -> int:
    """Open a file that must not exist yet, not even as a link; returns its descriptor, raises OSError."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
    try:
        # The umask would take the group's right to read, and with it the agent's.
        os.fchmod(descriptor, FILE_MODE)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
