"""The server's clock as the polls measure it: its offset from this host's clock, with bounds."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

import msgspec

from sqmon.lifetimes.lines import Line, line
from sqmon.lifetimes.polls import Poll

_DRIFT = 50e-6  # seconds a second: more than the clocks of computers drift apart
_QUARTER = 900 * 10**9
_SECOND = 10**9
_NARROWER = 0.5  # of the width that was told last


class Offset(NamedTuple):
    """The server's clock minus this host's, between two values in nanoseconds; the server's time is taken as if it were UTC."""

    least_ns: int
    most_ns: int
    at_ns: int
    """When it was measured."""

    def widened(self, at_ns: int) -> Offset:
        """Return what is certain at another time."""
        drift = int(abs(at_ns - self.at_ns) * _DRIFT)
        return Offset(self.least_ns - drift, self.most_ns + drift, at_ns)


class ServerClockState(msgspec.Struct):
    """What is known of the offset."""

    offset: Optional[Offset]
    told_width_ns: int


class ServerClock:
    """Narrows the offset with every poll whose own statement says when the server began it."""

    def __init__(self) -> None:
        self.offset: Optional[Offset] = None
        self._told_width_ns = 0

    def take(self, poll: Poll, began_s: int) -> list[Line]:
        """Take the time, in whole seconds, at which the server says it began the poll's statement; tell of what has become known.

        The statement began between the poll's start and its end, and within the second that follows the server's time.
        """
        now = Offset(began_s * _SECOND - poll.ended_ns, (began_s + 1) * _SECOND - poll.began_ns, poll.began_ns)
        before = self.offset
        if before is not None:
            old = before.widened(poll.began_ns)
            both = Offset(max(now.least_ns, old.least_ns), min(now.most_ns, old.most_ns), poll.began_ns)
            if both.least_ns <= both.most_ns:
                self.offset = both
                if both.most_ns - both.least_ns > self._told_width_ns * _NARROWER:
                    return []
                return [self._told(poll, both, stepped=False)]
        self.offset = now
        return [self._told(poll, now, stepped=before is not None)]

    def instant(self, seconds: Optional[int], at_ns: int) -> Optional[tuple[int, int]]:
        """Return between which instants of this host's clock the server's clock showed this second; None where nobody knows."""
        if seconds is None or self.offset is None:
            return None
        offset = self.offset.widened(at_ns)
        return seconds * _SECOND - offset.most_ns, (seconds + 1) * _SECOND - offset.least_ns

    def state(self) -> ServerClockState:
        """Return what another one can go on from."""
        return ServerClockState(self.offset, self._told_width_ns)

    def resume(self, state: ServerClockState) -> None:
        """Go on from there."""
        self.offset, self._told_width_ns = state.offset, state.told_width_ns

    def _told(self, poll: Poll, offset: Offset, *, stepped: bool) -> Line:
        self._told_width_ns = offset.most_ns - offset.least_ns
        zone = round((offset.least_ns + offset.most_ns) / 2 / _QUARTER)
        fields: dict[str, Any] = {
            "offset_min_s": round(offset.least_ns / 1e9, 3),
            "offset_max_s": round(offset.most_ns / 1e9, 3),
            "zone_minutes": zone * 15,
            "skew_min_s": round((offset.least_ns - zone * _QUARTER) / 1e9, 3),
            "skew_max_s": round((offset.most_ns - zone * _QUARTER) / 1e9, 3),
            "stepped": stepped,
        }
        return line("clock_offset", poll, fields, certainty="seen")
