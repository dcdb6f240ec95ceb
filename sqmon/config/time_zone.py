"""The time zone of the server's clock, by name."""

from __future__ import annotations

import datetime as dt
import re
from typing import Optional

Zone = Optional[dt.tzinfo]
"""The zone of the server's clock; None is the zone of this host."""

_OFFSET = re.compile(r"([+-])(\d\d):?([0-5]\d)")


def zone_of(name: str) -> Zone:
    """Return the time zone called `name` (as in Europe/Berlin, UTC, +02:00), "" being the host's; ValueError for one that isn't known."""
    if not name:
        return None
    if name.upper() in ("UTC", "Z"):
        return dt.timezone.utc
    offset = _OFFSET.fullmatch(name)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return dt.timezone(dt.timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - most sites do without, and every worker would carry it

    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{name!r} is not a time zone that this system knows (package tzdata); UTC and +02:00 work everywhere") from None
