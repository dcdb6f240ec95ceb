"""The view of the licence: how much of it is used, and until when it is valid."""

from __future__ import annotations

from typing import Optional

from sqmon.config import catalogue, thresholds
from sqmon.lifetimes import licence as lifetimes
from sqmon.lifetimes.polls import Row as Record
from sqmon.lifetimes.polls import text_of
from sqmon.top.picture import Picture
from sqmon.top.table import Cell, Column, Level, Row, Table, level_by, level_of

_COLUMNS = (Column("what"), Column("value", right=True), Column("note", grows=True))
_BAR = 20
_TOLD = ("expiration_date", "days_to_expiration", "size_used_ratio", "is_date_expired", "is_size_exceeded")
_TRUE = ("1", "true")


def licence(picture: Picture) -> Table:
    """Return what the licence allows and what of it is used."""
    rows = picture.moment.rows(lifetimes.METRIC)
    record = rows[0] if rows else None
    if record is None:
        return Table(_COLUMNS, (), "Nothing is known of the licence.")
    told = [_used(record), _valid(record)]
    told += [_flag(record, name, text) for name, text in (("is_date_expired", "expired"), ("is_size_exceeded", "exceeded"))]
    told += [
        (name, Cell(text_of(record[name])), _unit(name))
        for name in catalogue.FUNCTIONS[lifetimes.METRIC].columns
        if record.get(name) is not None and name not in _TOLD
    ]
    return Table(_COLUMNS, [[_row(*each)] for each in told if each[1].text], "Nothing is known of the licence.")


def used_ratio(picture: Picture) -> Optional[float]:
    """Return the used share of the licensed size, None when nobody knows."""
    rows = picture.moment.rows(lifetimes.METRIC)
    value = rows[0].get("size_used_ratio") if rows else None
    return float(value) if isinstance(value, (int, float)) else None


def _row(name: str, value: Cell, note: str) -> Row:
    return Row(f"licence {name}", (Cell(name.replace("_", " ")), value, Cell(note)), copy=value.text)


def _used(record: Record) -> tuple[str, Cell, str]:
    ratio = record.get("size_used_ratio")
    if not isinstance(ratio, (int, float)):
        return "used", Cell(""), ""
    full = min(_BAR, round(ratio * _BAR))
    said = f"{'█' * full}{'░' * (_BAR - full)} of {text_of(record.get('cluster_size_limit'))} GB, {text_of(record.get('compress_type'))}"
    return "used", Cell(f"{ratio:.1%}", level_by(ratio, thresholds.LICENCE_USED), ratio), said


def _valid(record: Record) -> tuple[str, Cell, str]:
    days = record.get("days_to_expiration")
    if not isinstance(days, int):
        return "expiration_date", Cell(text_of(record.get("expiration_date"))), ""
    level = level_of(-days, -thresholds.LICENCE_DAYS.warning, -thresholds.LICENCE_DAYS.critical)
    said = f"in {days} days" if days >= 0 else f"{-days} days ago"
    return "expiration_date", Cell(text_of(record.get("expiration_date")), level), said


def _flag(record: Record, name: str, text: str) -> tuple[str, Cell, str]:
    if record.get(name) is None:
        return text, Cell(""), ""
    wrong = text_of(record[name]).lower() in _TRUE
    return text, Cell("yes" if wrong else "no", Level.CRITICAL if wrong else Level.FINE), ""


def _unit(name: str) -> str:
    return "GB" if name.endswith(("_size", "_limit", "_left")) and name.startswith(("compressed", "uncompressed", "cluster")) else ""
