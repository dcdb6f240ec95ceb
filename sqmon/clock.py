"""The clock that all other code is given, so that tests can provide their own."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import NamedTuple, Protocol

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})Z", re.ASCII)


def utc_stamp(ns: int) -> str:
    """Return `ns` since 1970 as RFC 3339 in UTC with nine digits, as in a record's `ts`."""
    moment = _EPOCH + dt.timedelta(microseconds=ns // 1000)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}{ns % 1000:03d}Z"


def stamp_ns(stamp: str) -> int:
    """Return the nanoseconds since 1970 that `utc_stamp` made this of; raises ValueError for anything else."""
    match = _STAMP.fullmatch(stamp)
    if match is None:
        raise ValueError(f"{stamp!r} is not the time of a record")
    moment = dt.datetime.fromisoformat(f"{match[1]}+00:00")
    return (moment - _EPOCH) // dt.timedelta(seconds=1) * 10**9 + int(match[2])


class ClockStep(NamedTuple):
    """A step back of the wall clock: it is behind the latest stamp, which was wrong."""

    newest_ns: int
    """The latest stamp so far, in nanoseconds since 1970."""
    now_ns: int

    @property
    def back_s(self) -> float:
        """How far back the clock has stepped."""
        return (self.newest_ns - self.now_ns) / 1e9


STEP_NS = 10**9
"""How far the clock may be behind the latest stamp before that is a step; until then, stamps increase by a nanosecond each."""


class Clock(Protocol):
    """Wall time for stamps, monotonic time for intervals."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970 UTC; may step when the host's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step back, the same scale in every process of this host."""
        ...


class SystemClock:
    """The host's clocks."""

    def time_ns(self) -> int:
        """See Clock."""
        return time.time_ns()

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()
