"""The reaping of ended children, of which the supervisor and the forkserver each have some."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator


def reaped() -> Iterator[tuple[int, int]]:
    """Yield the process id and the wait status of each child that has ended; waits for none."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, status
