"""The agenda: the future events of the simulated cluster, in order of time."""

from __future__ import annotations

import heapq
import itertools
from typing import Callable

Act = Callable[[float], None]
# Events that recur for ever and are further back than this are skipped when nobody asked for long.
CATCH_UP = 3600.0


class Agenda:
    """Events in the order of their times, which happen when `advance` reaches them; times are seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._events: list[tuple[float, int, Act]] = []
        self._order = itertools.count()
        self.now = clock()
        self._target = self.now

    def later(self, at: float, delay: float, act: Act) -> None:
        """Let `act` happen `delay` seconds after `at`; what is due at one time happens in the order of these calls."""
        heapq.heappush(self._events, (at + delay, next(self._order), act))

    def again(self, at: float, delay: float, act: Act) -> None:
        """Like `later`, for events that recur for ever: after a long silence most of them are skipped."""
        self.later(max(at, self._target - CATCH_UP), delay, act)

    def advance(self) -> float:
        """Let everything happen that is due by the clock's time, and return that time; it never goes back."""
        self._target = max(self.now, self._clock())
        while self._events and self._events[0][0] <= self._target:
            at, _, act = heapq.heappop(self._events)
            self.now = at
            act(at)
        self.now = self._target
        return self.now

    def clear(self) -> None:
        """Drop everything that was going to happen."""
        self._events.clear()
