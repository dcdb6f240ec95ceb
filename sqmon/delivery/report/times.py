"""Times of a report: local, with their zone, and with the date where the range has several days."""

from __future__ import annotations

import datetime as dt
import math
from typing import Optional

from sqmon.clock import stamp_ns

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_MOST_TICKS = 8
_MINUTE_S = 60
_DAY_S = 86400


class Times:
    """The range of a report, and how its times are written."""

    def __init__(self, begin_ns: int, end_ns: int) -> None:
        self.begin_ns = begin_ns
        self.end_ns = max(end_ns, begin_ns + 10**9)
        first, last = local(self.begin_ns), local(self.end_ns)
        self._day = first.date() if first.date() == last.date() else None

    @property
    def seconds(self) -> float:
        """How long the range is."""
        return (self.end_ns - self.begin_ns) / 1e9

    def text(self, ns: int) -> str:
        """Return a time to the second."""
        moment = local(ns)
        return f"{moment:%H:%M:%S}" if moment.date() == self._day else f"{moment:%Y-%m-%d %H:%M:%S}"

    def span(self, after: Optional[str], before: Optional[str]) -> str:
        """Return between which stamps something happened, as far as that can be seen in seconds."""
        if before is None:
            return ""
        last = self.text(stamp_ns(before))
        if after is None:
            return f"before {last}"
        first = self.text(stamp_ns(after))
        if first == last:
            return last
        return f"{first} to {last[-2:]}" if first[:-2] == last[:-2] else f"{first} to {last[-8:] if first[:-8] == last[:-8] else last}"

    def share(self, ns: int) -> float:
        """Return where in the range an instant is, 0 to 1; instants outside are at its ends."""
        return min(1.0, max(0.0, (ns - self.begin_ns) / (self.end_ns - self.begin_ns)))

    def ticks(self) -> list[tuple[int, str]]:
        """Return round local times within the range, with their texts."""
        step = next((each for each in _STEPS_S if self.seconds / each <= _MOST_TICKS), 0)
        if not step or step >= _DAY_S:
            return self._days(max(1, math.ceil(self.seconds / _DAY_S / _MOST_TICKS)))
        form = "%H:%M:%S" if step < _MINUTE_S else "%H:%M" if self._day else "%m-%d %H:%M"
        midnight = local(self.begin_ns).replace(hour=0, minute=0, second=0, microsecond=0)
        places = (each * 10**9 for each in range(int(midnight.timestamp()), self.end_ns // 10**9 + 1, step))
        return [(ns, f"{local(ns):{form}}") for ns in places if ns >= self.begin_ns]

    def _days(self, step: int) -> list[tuple[int, str]]:
        """Return midnights, so many days apart; not all days have 24 hours."""
        first, last = local(self.begin_ns).date(), local(self.end_ns).date()
        days = (first + dt.timedelta(days=each) for each in range(0, (last - first).days + 1, step))
        midnights = ((int(dt.datetime.combine(day, dt.time()).astimezone().timestamp()) * 10**9, f"{day:%m-%d}") for day in days)
        return [(ns, text) for ns, text in midnights if ns >= self.begin_ns]


def local(ns: int) -> dt.datetime:
    """Return an instant in this host's zone."""
    return dt.datetime.fromtimestamp(ns // 10**9, dt.timezone.utc).astimezone()


def zone(ns: int) -> str:
    """Return the zone of the local time at an instant, as in CET (UTC+01:00)."""
    moment = local(ns)
    offset = f"UTC{moment:%z}"
    name = moment.tzname() or ""
    return "UTC" if name == "UTC" else f"{name} ({offset[:-2]}:{offset[-2:]})"
