"""The status file, `status.json`: the current state of every metric, for readers outside the service.

The file is overwritten in place and padded to its first size, which works on a full disk, when the status matters most. A reader therefore
checks that the writer was done; no agent tails this file.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Optional, Sequence

import msgspec

from sqmon.errors import SqmonError, reason_of

NAME = "status.json"
_LEAST_BYTES = 16 << 10
_BYTES_PER_METRIC = 1 << 10
_TRIES = 20
_MODE = 0o640


class MetricStatus(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One metric."""

    name: str
    state: str
    """waiting, starting, polling or stopping; see supervisor.child."""
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


class AgentStatus(msgspec.Struct, kw_only=True):
    """What is known of how far the agent has read."""

    positions: str
    """The agent's positions file, "" when none was found."""
    problem: str
    """Why nothing is known, "" when something is."""


class RetentionStatus(msgspec.Struct, kw_only=True):
    """How long the service keeps segments, and how much room they may take."""

    seconds: float
    bytes: int
    min_free_bytes: int
    compress: bool


class LifetimesStatus(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The process `lifetimes`."""

    state: str
    """waiting, starting, following or stopping."""
    pid: Optional[int] = None
    run_id: str = ""
    lines: int = 0
    """Written since it started."""
    behind_s: float = 0.0
    """How old the newest event is that it has read; 0 when nothing is left to read."""
    restarts: int = 0
    error: str = ""
    """What is wrong now; "" when nothing is."""


class ProofStatus(msgspec.Struct, kw_only=True):
    """What `sqmon verify --watch` has found last of the directory in Loki."""

    url: str
    looked: str
    """When; RFC 3339 in UTC, as is `up_to`."""
    proved: bool
    problem: str
    up_to: Optional[str]
    """The time up to which every line was seen."""
    unproved_lines: int


class Status(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The whole service."""

    generation: int
    version: str
    pid: int
    cluster: str = ""
    """The name of the cluster, "" where it has none."""
    started: str
    updated_ns: int
    stopped: bool = False
    removed: bool = False
    """Whether it was stopped because the cluster is not to be watched any more."""
    problems: list[str] = []
    """What is wrong with the service itself: login paused, metrics file rejected, disk full."""
    agent: Optional[AgentStatus] = None
    """None until it was looked for, and where no agent reads the files."""
    retention: Optional[RetentionStatus] = None
    lifetimes: Optional[LifetimesStatus] = None
    """None where --lifetimes is off."""
    proof: Optional[ProofStatus] = None
    """None where nobody looks."""
    metrics: list[MetricStatus] = []
    end: int
    """The generation again, as the sign that the whole status was written."""


class StatusFile:
    """The one writer of `status.json`, which it makes again when somebody has removed or replaced it."""

    def __init__(self, log_dir: Path) -> None:
        self.trouble = ""
        """Why the last status was not written, in words, or ""."""
        self._path = log_dir / NAME
        self._size = 0
        self._descriptor: Optional[int] = None

    def write(self, status: Status) -> None:
        """Overwrite the file; a failure stops nothing and is remembered as `trouble`."""
        data = msgspec.json.encode(status)
        try:
            descriptor = self._open()
            size = max(self._size, _LEAST_BYTES + _BYTES_PER_METRIC * len(status.metrics), len(data) + 1)
            written = os.pwrite(descriptor, data.ljust(size - 1) + b"\n", 0)
        except OSError as error:
            self.trouble = f"{self._path}: {reason_of(error)}"
        else:
            self.trouble = "" if written == size else f"{self._path}: no space left"
            self._size = max(self._size, written)

    def close(self) -> None:
        """Close the file, which stays with the last status."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        """Return the descriptor of the file that stands at the path now; raises OSError."""
        if self._descriptor is not None and not self._is_ours(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, _MODE)
            self._size = os.fstat(self._descriptor).st_size
            with contextlib.suppress(OSError):
                # The umask would take the group's right to read; some file systems have no such rights.
                os.fchmod(self._descriptor, _MODE)
        return self._descriptor

    def _is_ours(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.lstat(), os.fstat(descriptor))
        except OSError:
            return False


def read(log_dir: Path) -> Optional[Status]:
    """Return what the service of `log_dir` last said of itself, or None when there is nothing whole to be read.

    Raises SqmonError when this user may not read it.
    """
    for _ in range(_TRIES):
        try:
            status = msgspec.json.decode((log_dir / NAME).read_bytes(), type=Status)
        except PermissionError as error:
            raise SqmonError(f"{log_dir / NAME}: can't be read: {reason_of(error)}; ask as a member of the group that owns it") from None
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError):
            status = None
        if status is not None and status.generation == status.end:
            return status
        time.sleep(0.01)
    return None


def summary(metrics: Sequence[MetricStatus], problems: Sequence[str]) -> str:
    """Return in one line that all is well, or what is not."""
    failing = [metric.name for metric in metrics if not metric.healthy]
    wrong = (
        [f"{len(failing)} of {len(metrics)} metrics {'fails' if len(failing) == 1 else 'fail'}: {', '.join(failing)}"] if failing else []
    )
    if problems:
        wrong.append(problems[0] if len(problems) == 1 else f"{len(problems)} problems of the service")
    return "; ".join(wrong) or f"{len(metrics)} of {len(metrics)} metrics are well"
