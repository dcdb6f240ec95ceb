"""Times and durations as people type and read them."""

from __future__ import annotations

import argparse
import datetime as dt
import time
from typing import Iterator

import pytest

from sqmon.config import options
from sqmon.config.typed_time import TypedTime, duration, in_words, typed_duration, typed_time


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host in Berlin."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


NOW = dt.datetime(2026, 11, 24, 14, 30, tzinfo=dt.timezone.utc)


def utc(text: str, now: dt.datetime = NOW, after: str = "") -> str:
    """What a text means, in UTC."""
    since = TypedTime(after).moment(now) if after else None
    return f"{TypedTime(text).moment(now, after=since).astimezone(dt.timezone.utc):%Y-%m-%d %H:%M:%S}"


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("03:12", "2026-11-24 02:12:00"),
        ("15:30:00", "2026-11-24 14:30:00"),
        ("15:31", "2026-11-23 14:31:00"),
        ("today 23:00", "2026-11-24 22:00:00"),
        ("yesterday 02:00", "2026-11-23 01:00:00"),
        ("Yesterday", "2026-11-22 23:00:00"),
        ("2026-11-24T02:00", "2026-11-24 01:00:00"),
        ("2026-11-24 02:00:05", "2026-11-24 01:00:05"),
        ("2026-07-01", "2026-06-30 22:00:00"),
        ("2026-11-24T02:00Z", "2026-11-24 02:00:00"),
        ("2026-11-24T02:00+05:30", "2026-11-23 20:30:00"),
        ("-15m", "2026-11-24 14:15:00"),
        ("-1h30m", "2026-11-24 13:00:00"),
        ("now", "2026-11-24 14:30:00"),
    ],
)
def test_text_is_a_time(text: str, expected: str) -> None:
    """A time is local unless it says otherwise; a time of the day alone is the latest that has been."""
    assert expected == utc(text)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("02:00", "03:00", "2026-11-24 02:00:00"),
        ("yesterday 02:00", "03:00", "2026-11-23 02:00:00"),
        ("23:00", "01:00", "2026-11-24 00:00:00"),
        ("2026-10-24 12:00", "11:00", "2026-10-25 10:00:00"),
        ("yesterday 02:00", "today 03:00", "2026-11-24 02:00:00"),
    ],
)
def test_end_of_a_range_is_the_next_such_time(since: str, until: str, expected: str) -> None:
    """A time of the day alone that ends a range is the first after its beginning, across midnight and the change of the clocks."""
    assert expected == utc(until, after=since)


@pytest.mark.parametrize("text", ["", "3", "25:00", "12:60", "tomorrow", "2026-13-01", "-15", "--15m", "15m", "2026-11-24T02", "٠٣:١٢"])
def test_text_that_is_no_time_is_refused(text: str) -> None:
    """What can't be understood is a usage error that shows what can."""
    with pytest.raises(argparse.ArgumentTypeError):
        typed_time(text)


def test_durations_have_units() -> None:
    """A duration is made of numbers with units, or is a number of seconds."""
    assert [10, 300, 5400, 90, 0.5] == [duration(text) for text in ("10s", "5m", "1h30m", "90", "0.5s")]
    for text in ("", "5 m", "-5m", "5x", "99999999w"):
        with pytest.raises(argparse.ArgumentTypeError):
            typed_duration(text)


def test_time_ago_is_the_value_of_its_option() -> None:
    """-15m after an option is its value, and elsewhere it is what it looks like."""
    assert ["locks", "--since=-15m", "--until=-1h30m"] == options.spell(["locks", "--since", "-15m", "--until", "-1h30m"])
    assert ["--since=-15m", "-15m", "--", "--since", "-15m"] == options.spell(["--since=-15m", "-15m", "--", "--since", "-15m"])


def test_durations_are_words() -> None:
    """A duration is told in its two largest units, and in tenths while there are few seconds."""
    assert ["1.5 s", "2 s", "42 s", "1 min", "5 min 3 s", "2 h 5 min", "3 d 4 h"] == [
        in_words(seconds) for seconds in (1.5, 2.0, 42.4, 60, 303, 7500, 3 * 86400 + 4 * 3600)
    ]
