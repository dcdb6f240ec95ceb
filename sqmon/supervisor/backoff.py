"""Start times: spread over the first second, and put off further with each failure in a row."""

from __future__ import annotations

import random


def spread(index: int, count: int, shortest_interval: float) -> float:
    """Return how many seconds after the others' start metric `index` of `count` begins, so that they don't hit the server in one instant.

    The starts cover one second, or the shortest interval when that is shorter.
    """
    return min(1.0, shortest_interval) * index / max(count, 1)


class Backoff:
    """Waits between attempts that fail: 1 s, doubled up to 60 s, each shortened by up to a quarter so that metrics don't march in step."""

    def __init__(self, *, first: float = 1.0, longest: float = 60.0, healthy_after: float = 60.0, jitter: random.Random) -> None:
        self._first = first
        self._longest = longest
        self._healthy_after = healthy_after
        self._jitter = jitter
        self._failures = 0

    def wait(self, lasted: float) -> float:
        """Return the seconds to wait after an attempt that lived for `lasted` seconds; a healthy minute starts the row anew."""
        if lasted >= self._healthy_after:
            self._failures = 0
        wait = min(self._longest, self._first * 2.0**self._failures)
        self._failures = min(self._failures + 1, 30)
        return wait * (1 - self._jitter.random() / 4)
