"""A wall clock for retention that trusts a jump ahead only after an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqmon.clock import Clock

_DOUBT_S = 3600.0
_TOLERANCE_NS = 60 * 10**9


class SteadyTime:
    """The time of `clock`, or for an hour after a step forward the time that it would show without the step.

    A wrong answer of a time server for half an hour must not cost a week of segments.
    """

    def __init__(self, clock: Clock, witnessed_ns: int) -> None:
        """`witnessed_ns` is when something was last written: time that passed since then may be a step, too; 0 is unknown."""
        self._clock = clock
        self._offset_ns = (witnessed_ns or clock.time_ns()) - _monotonic_ns(clock)  # from monotonic to wall time
        self._doubted_ns = self._offset_ns
        self._doubted_since = clock.monotonic()

    def now_ns(self) -> int:
        """Nanoseconds since 1970; ask more often than once an hour."""
        offset_ns = self._clock.time_ns() - _monotonic_ns(self._clock)
        if abs(offset_ns - self._doubted_ns) > _TOLERANCE_NS:
            self._doubted_ns, self._doubted_since = offset_ns, self._clock.monotonic()
        is_late = offset_ns - self._offset_ns > _TOLERANCE_NS
        if not is_late or self._clock.monotonic() - self._doubted_since >= _DOUBT_S:
            self._offset_ns = offset_ns
        return _monotonic_ns(self._clock) + self._offset_ns


def _monotonic_ns(clock: Clock) -> int:
    return int(clock.monotonic() * 10**9)
