"""Rows that are held in memory once, though poll after poll returns them again."""

from __future__ import annotations

from typing import Any, Iterable

from sqmon.config import catalogue
from sqmon.lifetimes.polls import Row

_SHORT = 200  # characters
_MOST_TEXTS = 1024  # that are remembered so that other rows can share them
_Values = tuple[Any, ...]
_METADATA = {"ts", "seq", "metric", "cluster", "run_id", "poll", "poll_rows", "truncated"}


class SharedRows:
    """Makes rows of the records of one metric: without metadata and ages, which differ from poll to poll.

    A row that is equal to one of the poll before is that row, so a thousand locks that stay are a thousand rows, however they are polled.
    """

    def __init__(self, metric: str) -> None:
        self.first_ts = ""
        """The `ts` of the newest poll's first record."""
        function = catalogue.FUNCTIONS.get(metric)
        self._left_out = _METADATA.union(name for name in (function.computed if function else ()) if name.endswith("_age_s"))
        self._names: tuple[str, ...] = ()
        self._keys: set[str] = set()
        self._width = 0
        """How many keys a record has that has these names."""
        self._known: dict[int, Row] = {}
        """By the hash of the values, which are in memory once this way; of two rows with one hash, one is made anew in each poll."""
        self._texts: dict[str, str] = {}

    def poll(self, records: Iterable[Row]) -> list[Row]:
        """Return the rows of one poll."""
        rows: list[Row] = []
        known: dict[int, Row] = {}
        for record in records:
            if not rows:
                self.first_ts = record["ts"]
            if len(record) != self._width or not record.keys() >= self._keys:
                self._look_at(record)
            values = tuple([record[name] for name in self._names])
            hashed = hash(values)
            row = self._known.get(hashed)
            if row is None or (*row.values(),) != values:
                row = dict(zip(self._names, self._shared(values)))
            known[hashed] = row
            rows.append(row)
        if rows:
            self._known = known
        return rows

    def _shared(self, values: _Values) -> _Values:
        """Return the values with texts that are held already: users, objects and times are the same in many rows."""
        if len(self._texts) > _MOST_TEXTS:
            self._texts.clear()
        shared = self._texts.setdefault
        return tuple([shared(value, value) if type(value) is str and len(value) <= _SHORT else value for value in values])

    def _look_at(self, record: Row) -> None:
        names = tuple(name for name in record if name not in self._left_out)
        if names != self._names:
            self._names, self._keys, self._known = names, {*names}, {}
        self._width = len(record)
