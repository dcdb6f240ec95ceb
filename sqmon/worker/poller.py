"""The poller: asks the server, turns the result into lines, and writes them."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from sqmon.clock import Clock
from sqmon.config import catalogue
from sqmon.config.settings import Metric
from sqmon.database.client import Database
from sqmon.errors import DatabaseError, QueryTimeoutError
from sqmon.ipc.reports import DISK, ColumnsMissing, Polled, Report, Step
from sqmon.records.column_names import normalised
from sqmon.records.pipeline import Pipeline
from sqmon.result import Result
from sqmon.storage.writer import LineWriter
from sqmon.worker.schedule import Tick

_RESULT_ROWS = 10
_RESULT_VALUES = 50
_RESULT_CHARACTERS = 200


class Fetched(NamedTuple):
    """The answer to one poll, on its way to the file."""

    result: Result
    skipped: int
    late_ms: float
    began: float
    began_ns: int


class Poller:
    """The polls of one metric in one run, numbered from 1."""

    def __init__(
        self,
        metric: Metric,
        database: Database,
        pipeline: Pipeline,
        writer: LineWriter,
        *,
        clock: Clock,
        report: Callable[[Report], None],
    ) -> None:
        self._metric = metric
        self._database = database
        self._pipeline = pipeline
        self._writer = writer
        self._clock = clock
        self._report = report
        self._poll = 0
        self._unsettled: deque[Polled] = deque()
        self._columns: list[str] = []
        self._whole_in: Optional[Path] = None
        """The file that holds the last poll that was written whole."""

    def fetch(self, tick: Tick) -> Fetched:
        """Ask the server for the rows of `tick`. Raises DatabaseError after having reported it; the connection is dead then."""
        self._poll += 1
        began, began_ns = self._clock.monotonic(), self._clock.time_ns()
        late_ms = round((began - tick.due) * 1000, 3)
        try:
            self._report(Step("query", self._metric.timeout))
            self._database.execute(self._metric.query, self._metric.timeout)
            result = self._database.fetch(max(self._metric.timeout - (self._clock.monotonic() - began), 0.001))
        except DatabaseError as error:
            status = "timeout" if isinstance(error, QueryTimeoutError) else "error"
            self._finish(Polled(self._poll, began_ns, status, 0, self._since(began), late_ms, tick.skipped, error=str(error)))
            raise
        return Fetched(result, tick.skipped, late_ms, began, began_ns)

    def write(self, fetched: Fetched) -> None:
        """Turn the rows into lines and the lines over to the writer; never raises for what the disk does."""
        self._report(DISK)
        before, result = self._pipeline.seq, None
        if self._metric.is_command:
            result = [str(value)[:_RESULT_CHARACTERS] for row in fetched.result.tuples(0, _RESULT_ROWS) for value in row][:_RESULT_VALUES]
        else:
            self._look_at(fetched.result.columns)
            self._write_records(fetched)
        last = self._pipeline.seq
        self._finish(
            Polled(
                poll=self._poll,
                began_ns=fetched.began_ns,
                status="ok" if fetched.result.rows else "empty",
                rows=fetched.result.rows,
                duration_ms=self._since(fetched.began),
                late_ms=fetched.late_ms,
                skipped=fetched.skipped,
                first_seq=before + 1 if last > before else None,
                last_seq=last if last > before else None,
                result=result,
                changes=self._pipeline.changes,
            )
        )

    def _write_records(self, fetched: Fetched) -> None:
        if self._writer.path != self._whole_in:
            self._pipeline.restart()  # so that each segment can be understood alone
        for batch in self._pipeline.lines(fetched.result, poll=self._poll, now=fetched.began, started_ns=fetched.began_ns):
            self._writer.append(batch)
        if self._pipeline.changes is not None and self._pipeline.changes.key:
            self._whole_in = self._writer.path

    def _look_at(self, columns: list[str]) -> None:
        """Report the columns that the alerts lack, when the columns are seen for the first time."""
        if columns != self._columns:
            self._columns = columns
            names = catalogue.missing(self._metric.name, normalised(columns, ()))
            if names:
                self._report(ColumnsMissing(names))

    def settle(self) -> None:
        """Report the polls whose lines have meanwhile reached the file or were given up."""
        while self._unsettled and (self._unsettled[0].last_seq or 0) <= self._writer.settled_seq:
            self._report(self._unsettled.popleft())

    def _finish(self, polled: Polled) -> None:
        """Report in order: a poll that is over waits for the lines of the polls before it."""
        self._unsettled.append(polled)
        self.settle()

    def _since(self, began: float) -> float:
        return round((self._clock.monotonic() - began) * 1000, 3)
