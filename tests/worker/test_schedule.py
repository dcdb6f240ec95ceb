"""The schedule of polls, on made-up time."""

from __future__ import annotations

import random

import pytest

from sqmon.worker.schedule import Schedule


def test_first_tick_is_the_start() -> None:
    """The first poll is due at the start, even if the caller comes late."""
    assert Schedule(5, 100.0).next(107.0) == (100.0, 0)


def test_ticks_do_not_drift_over_a_day() -> None:
    """After a day of polls that end within their interval, ticks still lie on the grid and none was skipped."""
    jitter = random.Random(7)
    schedule, now = Schedule(7, 1000.3), 1000.3
    for number in range(86400 // 7):
        tick = schedule.next(now)

        assert pytest.approx((1000.3 + 7 * number, 0)) == tuple(tick)

        now = tick.due + jitter.uniform(0, 6.99)


def test_late_poll_skips_what_it_missed() -> None:
    """A poll that took three intervals skips the ticks that are over, but not the one in which it ended."""
    schedule = Schedule(2, 0.0)
    schedule.next(0.0)

    assert schedule.next(7.1) == (6.0, 2)
    assert schedule.next(7.2) == (8.0, 0)


def test_exactly_on_the_tick_is_not_late() -> None:
    """Rounding in the clock doesn't turn a punctual tick into a missed one."""
    schedule = Schedule(0.1, 0.0)
    for number in range(1000):
        assert pytest.approx((number * 0.1, 0)) == tuple(schedule.next(number * 0.1))


def test_jump_of_the_clock_causes_no_burst() -> None:
    """After the host slept for an hour there is one poll, not a thousand."""
    schedule = Schedule(2, 0.0)
    schedule.next(0.0)

    assert schedule.next(3600.5) == (3600.0, 1799)
    assert schedule.next(3600.6) == (3602.0, 0)
