"""A poll as evidence: the rows of one good poll, and the instants between which the server answered it."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any, Iterable, Mapping, NamedTuple, Optional, Sequence

from sqmon.config import catalogue
from sqmon.records.computed import moment

Row = Mapping[str, Any]

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - the server's times carry no zone


class Poll(NamedTuple):
    """A poll that succeeded and whose rows are all known; nothing else is evidence of absence."""

    metric: str
    run_id: str
    poll: int
    began_ns: int
    """When it began, in nanoseconds since 1970: what it didn't see was not there at some moment from then on."""
    ended_ns: int
    """When its rows were written: what it saw was there at some moment before."""
    rows: Sequence[Row]
    """Records, under the column names of the catalogue."""

    def bare(self) -> Poll:
        """Return the poll without its rows, for those who only need to know when it was."""
        return self._replace(rows=())


def renamed(metric: str, rows: Iterable[Row]) -> list[Row]:
    """Return the rows of a metric under the column names of the catalogue, whatever version of the server sent them."""
    function = catalogue.FUNCTIONS.get(metric)
    aliases = function.aliases if function else {}
    rows = list(rows)
    if not rows or aliases.keys().isdisjoint(rows[0]):
        return rows
    return [{aliases.get(name, name): value for name, value in row.items()} for row in rows]


def server_seconds(value: object) -> Optional[int]:
    """Return a time of the server's clock as seconds since 1970 in the server's own zone, None for what is not a time."""
    return _seconds_of_text(value) if isinstance(value, str) else _seconds(value)


def _seconds(value: object) -> Optional[int]:
    found = moment(value)
    return None if found is None else int((found.replace(tzinfo=None, microsecond=0) - _EPOCH).total_seconds())


_seconds_of_text = functools.lru_cache(maxsize=8192)(_seconds)  # the same texts come poll after poll


def text_of(value: object) -> str:
    """Return an id or a name as text: one metric sends ids as numbers, another as strings."""
    return "" if value is None else str(value).strip()
