"""The time that everything else asks for, so that tests can hand out their own."""

from __future__ import annotations

import time
from typing import Protocol


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
