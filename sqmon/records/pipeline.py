"""The pipeline from a result to lines: compute columns, mask SQL text, compare with the previous poll, encode."""

from __future__ import annotations

from typing import Callable, Iterator, Optional

from sqmon.config.settings import Connection, Metric, SqlMode
from sqmon.config.time_zone import zone_of
from sqmon.records.changes import Changes, ChangeTracker
from sqmon.records.computed import Computation
from sqmon.records.encoder import PART_ROWS, Batch, Encoder
from sqmon.records.sql_columns import SqlColumns
from sqmon.result import Result, joined


class Pipeline:
    """Makes the lines of one metric in one run."""

    def __init__(
        self,
        metric: Metric,
        connection: Connection,
        sql: SqlMode,
        encoder: Encoder,
        look: Optional[Callable[[Result], None]] = None,
    ) -> None:
        """`look` sees the rows of each poll as the server sent them, in parts."""
        self.changes: Optional[Changes] = None
        """What the last poll has changed, where the metric emits changes only."""
        self._computation = Computation(metric.name, query=metric.query, user=connection.user, zone=zone_of(connection.server_timezone))
        self._sql = SqlColumns(sql)
        self._tracker = ChangeTracker(metric.keyframe_s) if metric.emit == "changes" else None
        self._encoder = encoder
        self._look = look

    @property
    def seq(self) -> int:
        """The number of lines so far."""
        return self._encoder.seq

    def restart(self) -> None:
        """Write the next poll whole: the lines before are not to be had where the next ones go."""
        if self._tracker is not None:
            self._tracker.restart()

    def lines(self, result: Result, *, poll: int, now: float, started_ns: int) -> Iterator[Batch]:
        """Yield the records of one poll in batches, each ready for one append.

        `started_ns` is the poll's start in nanoseconds since 1970, `now` the same in monotonic seconds.
        """
        parts = self._worked(result, started_ns)
        if self._tracker is None:
            for part in parts:
                yield from self._encoder.part(part, poll=poll, poll_rows=result.rows, started_ns=started_ns)
            return
        self.changes, groups = self._tracker.compare(joined([*parts]), len(result.columns), now=now)
        for change, rows in groups:
            yield from self._encoder.part(rows, poll=poll, poll_rows=result.rows, started_ns=started_ns, change=change)

    def _worked(self, result: Result, started_ns: int) -> Iterator[Result]:
        """The result in parts, with the computed columns and without secrets; at least one part, so that the columns are known."""
        when = self._computation.at(started_ns)
        for part in result.parts(PART_ROWS):
            if self._look is not None:
                self._look(part)
            completed = self._computation.extended(part, when)
            yield self._sql.applied(completed)
