"""The time that everything else asks for, so that tests can hand out their own."""

from __future__ import annotations

import datetime as dt
import time
from typing import Protocol

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


def utc_stamp(ns: int) -> str:
    """Return `ns` since 1970 as RFC 3339 in UTC with nine digits, as in a record's `ts`."""
    moment = _EPOCH + dt.timedelta(microseconds=ns // 1000)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}{ns % 1000:03d}Z"


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
