"""The tables of a report, and the sentences that count what is not in them."""

from __future__ import annotations

from collections import Counter
from typing import Iterable, NamedTuple, Optional, Sequence

from sqmon.delivery.report.html import Content, Html, element
from sqmon.words import counted

_MOST_NAMES = 3


class Column(NamedTuple):
    """A column of a table; its class says whether it holds numbers, times or SQL."""

    heading: str
    kind: Optional[str] = None


def names_of(names: Counter[str]) -> str:
    """Return the most frequent names, and how many more there are."""
    ranked = sorted((name for name in names if name), key=lambda name: -names[name])
    more = len(ranked) - _MOST_NAMES
    return ", ".join(ranked[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def table(columns: Sequence[Column], rows: Iterable[Sequence[Content]]) -> Html:
    """Return a table that scrolls by itself where it is too wide."""
    head = element("tr", *(element("th", column.heading, scope="col", class_=column.kind) for column in columns))
    body = (element("tr", *(element("td", cell, class_=column.kind) for column, cell in zip(columns, row))) for row in rows)
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="wide")


def left_out(number: int, one: str, many: str) -> Optional[Html]:
    """Return how many more there are, None when there are none."""
    return element("p", f"Not shown: {counted(number, one, many)}.", class_="quiet") if number > 0 else None
