"""Times and durations as people type them (`03:12`, `yesterday 02:00`, `2026-11-24T02:00`, `-15m`; `10s`, `5m`), and read them."""

from __future__ import annotations

import argparse
import datetime as dt
import re
from typing import NamedTuple, Optional

from sqmon.errors import SqmonError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST_S = 10 * 366 * 86400
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,3})?[smhdw])+", re.ASCII)
_PART = re.compile(r"([\d.]+)([smhdw])", re.ASCII)
_CLOCK = re.compile(r"(?:(today|yesterday)(?:[ T]|\Z))?(?:(\d{1,2}):(\d\d)(?::(\d\d))?)?", re.IGNORECASE | re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?(Z|[+-]\d\d:\d\d)?", re.IGNORECASE | re.ASCII)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_FORMS = "03:12, yesterday 02:00, 2026-11-24T02:00 or -15m"


class TypedTime(NamedTuple):
    """A time that was typed, and is one as soon as the present is known."""

    text: str

    def moment(self, now: dt.datetime, *, after: Optional[dt.datetime] = None) -> dt.datetime:
        """Return what was meant, in this host's zone unless the text says another; raises ValueError for what is no time.

        A time of the day alone is the latest that is not after `now`, or the first that is not before `after` where that is given.
        """
        text, now = self.text.strip(), now.astimezone()
        if text.lower() == "now":
            return now
        if text.startswith("-") and _DURATION.fullmatch(text[1:]):
            return now - dt.timedelta(seconds=duration(text[1:]))
        if _DATE.fullmatch(text):
            return dt.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)).astimezone()
        match = _CLOCK.fullmatch(text)
        if match is None or not text:
            raise ValueError(f"{self.text!r} is not a time, such as {_FORMS}")
        hour, minute, second = (int(group or 0) for group in match.groups()[1:])
        try:
            time = dt.time(hour, minute, second)
        except ValueError:
            raise ValueError(f"{self.text!r} is not a time of the day") from None
        if match[1] is not None:
            return _local(now.date(), time, -1 if match[1].lower() == "yesterday" else 0)
        if after is not None:
            after = after.astimezone()
            return max(_local(after.date(), time, 0), after) if time >= after.time() else _local(after.date(), time, 1)
        found = _local(now.date(), time, 0)
        return found if found <= now else _local(now.date(), time, -1)


def _local(date: dt.date, time: dt.time, days: int) -> dt.datetime:
    """The time of that day, so many days later, as this host's clocks show it."""
    return dt.datetime.combine(date + dt.timedelta(days=days), time).astimezone()


def duration(text: str) -> float:
    """Return the seconds of a text such as 10s, 5m or 1h30m, or of a number alone; raises ValueError."""
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,3})?", text, re.ASCII):
        seconds = float(text)
    elif _DURATION.fullmatch(text):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    else:
        raise ValueError(f"{text!r} is not a duration, such as 10s, 5m or 1h30m")
    if seconds > _LONGEST_S:
        raise ValueError(f"{text!r} is longer than ten years")
    return seconds


def in_words(seconds: float) -> str:
    """Return a duration in its two largest units."""
    if seconds < 10:  # noqa: PLR2004 - tenths count while there are few seconds
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def bounds_of(since: Optional[TypedTime], until: Optional[TypedTime], now: dt.datetime) -> tuple[Optional[dt.datetime], dt.datetime]:
    """Return the range that was typed; raises SqmonError for one that ends before it begins."""
    begin = since.moment(now) if since is not None else None
    end = until.moment(now, after=begin) if until is not None else now
    if begin is not None and end < begin:
        raise SqmonError(f"--until {end:%Y-%m-%d %H:%M:%S %Z} is before --since {begin:%Y-%m-%d %H:%M:%S %Z}")
    return begin, end


def nanoseconds(moment: dt.datetime) -> int:
    """Return a moment in nanoseconds since 1970."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1000


def typed_time(text: str) -> TypedTime:
    """Return the time of an option; argparse's error for what is none."""
    found = TypedTime(text)
    try:
        found.moment(dt.datetime(2026, 11, 24, 12, tzinfo=dt.timezone.utc))
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return found


def typed_duration(text: str) -> float:
    """Return the seconds of an option; argparse's error for what is no duration."""
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
