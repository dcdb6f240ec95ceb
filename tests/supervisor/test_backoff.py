"""Start times of workers, on made-up time."""

from __future__ import annotations

import random

from sqmon.supervisor.backoff import Backoff, spread


def test_starts_are_spread_over_a_second_at_most() -> None:
    """The starts of 200 metrics are spread over at most a second, and a single metric starts at once."""
    starts = [spread(index, 200, 2.0) for index in range(200)]

    assert (0.0, 200) == (starts[0], len(set(starts)))
    assert max(starts) < 1.0
    assert max(spread(index, 10, 0.5) for index in range(10)) < 0.5


def test_backoff_doubles_up_to_a_minute_and_starts_fresh_after_a_healthy_one() -> None:
    """Waits grow from 1 to 60 s, less up to a quarter; after a run of a minute the next wait is short again."""
    backoff = Backoff(jitter=random.Random(1))

    waits = [backoff.wait(0.5) for _ in range(8)]

    for wait, full in zip(waits, (1, 2, 4, 8, 16, 32, 60, 60)):
        assert 0.75 * full <= wait <= full
    assert backoff.wait(60.0) <= 1.0
