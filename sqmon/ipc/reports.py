"""The reports of a worker to the supervisor: small messages over a socket, in one direction."""

from __future__ import annotations

from typing import Optional, Union

import msgspec

from sqmon.clock import ClockStep
from sqmon.records.changes import Changes
from sqmon.storage.writer import Dropped, Sealed


class Step(msgspec.Struct, tag="step", frozen=True):
    """The worker begins something; if nothing else is heard for longer than `seconds`, it hangs."""

    name: str
    """login, query, write or wait."""
    seconds: float


DISK = Step("write", 600.0)
"""The worker hands lines to the disk, which may take its time: a process that waits for an fsync is not hung."""


class Connected(msgspec.Struct, tag="connected", frozen=True):
    """The login worked."""


class Polled(msgspec.Struct, tag="polled", frozen=True, omit_defaults=True):
    """A poll is over and its lines are where they will stay."""

    poll: int
    began_ns: int
    """When it began, in nanoseconds since 1970."""
    status: str
    """ok, empty, error or timeout."""
    rows: int
    duration_ms: float
    late_ms: float
    skipped: int
    """Ticks before this one that had no poll."""
    first_seq: Optional[int] = None
    last_seq: Optional[int] = None
    error: Optional[str] = None
    result: Optional[list[str]] = None
    """What a state-changing call returned."""
    changes: Optional[Changes] = None
    """What has changed since the poll before, where the metric emits changes only."""


class ColumnsMissing(msgspec.Struct, tag="columns_missing", frozen=True):
    """The server doesn't send these columns of a default metric, under any name, and alerts need them."""

    names: list[str]


class SecondMonitor(msgspec.Struct, tag="second_monitor", frozen=True):
    """Somebody else polls this cluster under the same role."""

    address: str
    """Where from, as the server sees it."""


class SegmentSealed(msgspec.Struct, tag="sealed", frozen=True):
    """A segment is complete: nobody writes to it any more."""

    sealed: Sealed


class ClockStepped(msgspec.Struct, tag="clock_step", frozen=True):
    """The clock was behind the newest line; what comes now has the true time, in a segment of its own."""

    step: ClockStep


class RecordsDropped(msgspec.Struct, tag="dropped", frozen=True):
    """Records found no place, neither in a file nor in the buffer."""

    dropped: Dropped


class Pending(msgspec.Struct, tag="pending", frozen=True):
    """What is wrong with the disk has changed."""

    trouble: str
    """In words, without the name of what is written; "" when nothing is wrong."""
    bytes: int
    """How many wait in memory because the disk refuses them; 0 when the trouble, if any, makes nothing wait."""

    @property
    def warning(self) -> str:
        """The trouble, if it makes nothing wait."""
        return "" if self.bytes else self.trouble


class Followed(msgspec.Struct, tag="followed", frozen=True):
    """How far the process `lifetimes` has come."""

    lines: int
    """Written since it started."""
    behind_s: float
    """How old the newest event is that it has read; 0 when nothing is left to read."""


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """Why the worker is about to end by itself."""

    kind: str
    """refused (the login), connection, statement, timeout, files (that can't be read) or bug."""
    error: str
    traceback: str = ""


Report = Union[
    Step, Connected, Polled, ColumnsMissing, SecondMonitor, SegmentSealed, ClockStepped, RecordsDropped, Pending, Followed, Failed
]

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Report).decode
