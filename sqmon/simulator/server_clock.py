"""The clock of the simulated server, which may be wrong and in another zone than this host's."""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Optional
from zoneinfo import ZoneInfo

YEAR_FIRST = "%Y-%m-%d %H:%M:%S"
DAY_FIRST = "%d-%m-%Y %H:%M:%S"
_OFFSET = re.compile(r"([+-])(\d\d):([0-5]\d)")


def zone_of(name: str) -> Optional[tzinfo]:
    """Return the zone of this name (Asia/Seoul, UTC, +05:30), or None, which is the host's, for ""; raises ValueError for others."""
    offset = _OFFSET.fullmatch(name)
    try:
        if offset:
            minutes = 60 * int(offset[2]) + int(offset[3])
            return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
        if name in ("", "UTC"):
            return timezone.utc if name else None
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"unknown time zone {name!r}: a name that this system knows, UTC, or an offset such as +05:30") from None


class ServerClock:
    """Writes the cluster's times as the server's clock showed them, to the second and without a zone.

    A time that the server has noted stays as it is when its clock is set.
    """

    def __init__(self, skew: float = 0.0, zone: str = "") -> None:
        self._since = [float("-inf")]
        self._settings = [(skew, zone_of(zone))]

    def set(self, at: float, skew: float, zone: str) -> None:
        """Put the clock `skew` seconds ahead of the host's, and into this zone, from `at` on."""
        if (skew, zone_of(zone)) != self._settings[-1]:
            self._since.append(at)
            self._settings.append((skew, zone_of(zone)))

    def text(self, at: float, form: str = YEAR_FIRST) -> str:
        """Return what the clock showed at this time of the host, in seconds since 1970."""
        skew, zone = self._settings[bisect_right(self._since, at) - 1]
        return _written(int(at + skew), zone, form)


@lru_cache(maxsize=4096)
def _written(at: int, zone: Optional[tzinfo], form: str) -> str:
    return time.strftime(form, time.localtime(at)) if zone is None else datetime.fromtimestamp(at, zone).strftime(form)
