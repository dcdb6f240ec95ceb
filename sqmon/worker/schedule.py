"""The schedule of polls: ticks that do not drift."""

from __future__ import annotations

import math
from typing import NamedTuple


class Tick(NamedTuple):
    """One moment at which a poll is due."""

    due: float
    """Monotonic seconds."""
    skipped: int
    """Ticks that passed before this one without a poll, because the poll before took too long."""


class Schedule:
    """Ticks at `start + n * interval`: a late poll delays none of the later ones, and missed ones are skipped, never caught up."""

    def __init__(self, interval: float, start: float) -> None:
        self._interval = interval
        self._start = start
        self._number = -1

    def next(self, now: float) -> Tick:
        """Return the first tick after the last one that is not yet a whole interval in the past; the first call returns `start`."""
        following = self._number + 1
        # The small term forgives the rounding of `now`: a tick that is due this very moment is not a missed one.
        passed = math.floor((now - self._start) / self._interval + 1e-9)
        number = max(following, passed) if following else 0
        self._number = number
        return Tick(self._start + number * self._interval, number - following)
