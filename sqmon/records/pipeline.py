"""The way of a poll's result to lines: completed with computed columns, freed of secrets, encoded."""

from __future__ import annotations

from typing import Iterator

from sqmon.config.settings import Connection, Metric, SqlMode
from sqmon.config.time_zone import zone_of
from sqmon.records.computed import Computation
from sqmon.records.encoder import PART_ROWS, Batch, Encoder
from sqmon.records.sql_columns import SqlColumns
from sqmon.result import Result


class Pipeline:
    """Makes the lines of one metric in one run."""

    def __init__(self, metric: Metric, connection: Connection, sql: SqlMode, encoder: Encoder) -> None:
        self._computation = Computation(metric.name, query=metric.query, user=connection.user, zone=zone_of(connection.server_timezone))
        self._sql = SqlColumns(sql)
        self._encoder = encoder

    @property
    def seq(self) -> int:
        """The number of lines so far."""
        return self._encoder.seq

    def lines(self, result: Result, *, poll: int, started_ns: int) -> Iterator[Batch]:
        """Yield the records of one poll in batches, each ready for one append; `started_ns` is the poll's start, since 1970."""
        when = self._computation.at(started_ns)
        self._sql.begin()
        for part in result.parts(PART_ROWS):
            completed = self._computation.extended(part, when)
            safe = self._sql.applied(completed)
            yield from self._encoder.part(safe, poll=poll, poll_rows=result.rows, started_ns=started_ns)
