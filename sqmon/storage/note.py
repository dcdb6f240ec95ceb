"""Notes: small hidden files beside the segments, for facts that must outlast the service."""

from __future__ import annotations

import contextlib
import os
from typing import Optional

from sqmon.config.settings import FileOutput, Output

_MODE = 0o600
_LARGEST = 4096


class Note:
    """One note. An agent's glob doesn't match it, and nobody but the service's own user can read it."""

    def __init__(self, output: Output, name: str) -> None:
        """`name` is part of a file name: `.name` in the log directory, or `FILE.name` beside a single file."""
        if isinstance(output, FileOutput):
            self.path = output.path.with_name(f"{output.path.name}.{name}").absolute()
        else:
            self.path = (output.log_dir / f".{name}").absolute()

    def read(self) -> Optional[bytes]:
        """Return what was written last, None when there is nothing that can be read."""
        with contextlib.suppress(OSError):
            return self.path.read_bytes()[:_LARGEST]
        return None

    def write(self, content: bytes) -> bool:
        """Replace the note as a whole; return False when the disk does not take it."""
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
            try:
                os.write(descriptor, content)
            finally:
                os.close(descriptor)
            new.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            return False
        return True

    def remove(self) -> None:
        """Remove the note, if it is there."""
        with contextlib.suppress(OSError):
            self.path.unlink()
