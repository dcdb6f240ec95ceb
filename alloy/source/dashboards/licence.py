"""The panels of the licence, which two dashboards show."""

from __future__ import annotations

from alloy.source.dashboards.panels import Panel, above, below, course, number, series
from alloy.source.logql import SITE, extreme, rows
from sqmon.config import thresholds

_LICENCE = "get_license_info"
_USED = rows(_LICENCE, "size_used_ratio", site=SITE)


def numbers(*, beside_course: bool = False) -> list[Panel]:
    """Return how long it lasts and how much of it is used."""
    days = rows(_LICENCE, "days_to_expiration", site=SITE)
    return [
        number(
            "Days to expiration",
            "Of the licence.",
            extreme("min", days, "days_to_expiration", over="15m"),
            unit="suffix:days",
            thresholds=below(thresholds.LICENCE_DAYS),
            beside_course=beside_course,
        ),
        number(
            "Licensed size used",
            "Of the kind of size that the licence counts.",
            extreme("max", _USED, "size_used_ratio", over="15m"),
            unit="percentunit",
            decimals=1,
            thresholds=above(thresholds.LICENCE_USED),
            beside_course=beside_course,
        ),
    ]


def used_over_time() -> Panel:
    """Return how the used share grows."""
    return course(
        "Licensed size used over time",
        "How soon the licensed size will be used up.",
        extreme("max", _USED, "size_used_ratio", over="$__auto"),
        legend=series(),
        unit="percentunit",
        thresholds=above(thresholds.LICENCE_USED),
    )
