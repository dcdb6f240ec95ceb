"""`status.json`: what every metric is doing now, for whoever asks from outside.

The file is overwritten in place, padded to the size it was born with: that works on a full disk, which is when people ask. A reader
therefore checks that it did not meet a writer half-way; no agent tails this file.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Optional

import msgspec

NAME = "status.json"
_LEAST_BYTES = 16 << 10
_BYTES_PER_METRIC = 1 << 10
_TRIES = 20


class MetricStatus(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One metric."""

    name: str
    state: str
    """waiting, starting, polling, stopping; see child.Child."""
    healthy: bool
    interval: float
    pid: Optional[int] = None
    run_id: str = ""
    polls: int = 0
    failed_polls: int = 0
    skipped: int = 0
    records: int = 0
    dropped: int = 0
    restarts: int = 0
    last_status: str = ""
    last_rows: Optional[int] = None
    last_duration_ms: Optional[float] = None
    last_success: Optional[str] = None
    """RFC 3339 in UTC."""
    error: str = ""
    """What is wrong now; "" when nothing is."""
    pending_bytes: int = 0


class Status(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The whole service."""

    generation: int
    version: str
    pid: int
    started: str
    updated_ns: int
    stopped: bool = False
    problems: list[str] = []
    """What is wrong with the service itself: login paused, metrics file rejected, disk full."""
    metrics: list[MetricStatus] = []
    end: int
    """The generation again: the writer was done."""


class StatusFile:
    """The one writer of `status.json`."""

    def __init__(self, log_dir: Path) -> None:
        self._path = log_dir / NAME
        self._size = 0
        self._fd: Optional[int] = None

    def write(self, status: Status) -> None:
        """Overwrite the file; a disk that does not even take that is no reason to stop anything."""
        data = msgspec.json.encode(status)
        with contextlib.suppress(OSError):
            if self._fd is None:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
                self._size = os.fstat(self._fd).st_size
            size = max(self._size, _LEAST_BYTES + _BYTES_PER_METRIC * len(status.metrics), len(data) + 1)
            written = os.pwrite(self._fd, data.ljust(size - 1) + b"\n", 0)
            self._size = max(self._size, written)

    def close(self) -> None:
        """Let go of the file, which stays and says that the service has stopped."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def read(log_dir: Path) -> Optional[Status]:
    """Return what the service of `log_dir` says of itself, None when it has never said anything that can be read."""
    for _ in range(_TRIES):
        try:
            status = msgspec.json.decode((log_dir / NAME).read_bytes(), type=Status)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError):
            status = None
        if status is not None and status.generation == status.end:
            return status
        time.sleep(0.01)
    return None
