"""The alerts about SQreamDB's licence: its size and its end."""

from __future__ import annotations

from alloy.source.alerts.alert import Alert
from alloy.source.logql import extreme, rows
from sqmon.config import thresholds

_OVER = "15m"  # some sites poll the licence every few minutes only
_USED, _DAYS = thresholds.LICENCE_USED, thresholds.LICENCE_DAYS


def _most(column: str) -> str:
    return extreme("max", rows("get_license_info", column), column, over=_OVER)


def _alert(name: str, severity: str, expr: str, *, summary: str, description: str, panel: str = "Days to expiration") -> Alert:
    return Alert(name, severity, expr, summary, description, dashboard="metadata", panel=panel)


_LEFT = extreme("min", rows("get_license_info", "days_to_expiration"), "days_to_expiration", over=_OVER)

ALERTS = (
    _alert(
        "SqreamLicenceFillsUp",
        "warning",
        f"{_most('size_used_ratio')} > {_USED.warning:g}",
        summary="the licensed size is nearly used up",
        description="{{ $value | humanizePercentage }} of it is used.",
        panel="Licensed size used",
    ),
    _alert(
        "SqreamLicenceFull",
        "critical",
        f"{_most('size_used_ratio')} > {_USED.critical:g}",
        summary="the licensed size is used up",
        description="{{ $value | humanizePercentage }} of it is used. Delete data or get a larger licence.",
        panel="Licensed size used",
    ),
    _alert(
        "SqreamLicenceExceeded",
        "critical",
        f"{_most('is_size_exceeded')} > 0",
        summary="SQreamDB says that the licensed size is exceeded",
        description="Delete data or get a larger licence.",
        panel="Size exceeded",
    ),
    _alert(
        "SqreamLicenceExpired",
        "critical",
        f"{_most('is_date_expired')} > 0",
        summary="SQreamDB says that the licence has expired",
        description="Get a new one.",
        panel="Expired",
    ),
    _alert(
        "SqreamLicenceEndsSoon",
        "warning",
        f"{_LEFT} < {_DAYS.warning:g}",
        summary="the licence expires soon",
        description="It ends in {{ $value }} days. Order a new one.",
    ),
    _alert(
        "SqreamLicenceEndsNow",
        "critical",
        f"{_LEFT} < {_DAYS.critical:g}",
        summary="the licence is about to expire",
        description="It ends in {{ $value }} days.",
    ),
)
