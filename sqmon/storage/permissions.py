"""The modes of what the service makes: its own user writes, the group reads (the agent is in it), others see nothing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

DIRECTORY_MODE = 0o750
FILE_MODE = 0o640


def share_with_group() -> None:
    """Give all that this process and its children make from now on the modes above, whatever the umask was.

    A chmod after the fact would not do: some file systems (CIFS) refuse it, and it can take the setgid bit.
    """
    os.umask(0o777 & ~DIRECTORY_MODE)


def make_directory(path: Path) -> None:
    """Make the directory, and what is missing above it, unless it is there; raises OSError."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(DIRECTORY_MODE)


def create_file(path: Path, flags: int) -> int:
    """Open a file that must not exist yet, not even as a link; returns its descriptor, raises OSError."""
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
