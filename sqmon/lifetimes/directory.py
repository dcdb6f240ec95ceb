"""The polls of a directory's segments, joined from the records of the metrics and the events of the `sqmon` stream."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from pathlib import Path
from typing import Any, Collection, Iterator, Mapping, NamedTuple, Optional, Union

import msgspec

from sqmon.clock import stamp_ns
from sqmon.lifetimes.polls import Poll, Row, renamed
from sqmon.lifetimes.shared_rows import SharedRows
from sqmon.records.fold import Fold
from sqmon.storage.reader import Place, StreamReader
from sqmon.storage.seek import ALWAYS, Window
from sqmon.storage.source import Source

_EVENTS = "sqmon"
_GOOD = ("ok", "empty")
_ROUNDING_NS = 1000  # durations are told in whole microseconds
_RUNS = 100  # earlier runs of a metric that are remembered

Event = Mapping[str, Any]


class Heard(NamedTuple):
    """An event of the service, and its poll where it tells of one that is evidence."""

    event: Event
    poll: Optional[Poll]


class MetricState(msgspec.Struct):
    """How far the lines of a metric were read, and what their meaning depends on."""

    run_id: str
    ended_ns: Optional[int]
    folded: Optional[list[Row]]
    """The rows of the newest poll, where the metric emits changes and they are known."""
    place: Optional[Place]
    runs: list[str]


class DirectoryState(msgspec.Struct):
    """How far a directory was read."""

    events: Optional[Place]
    metrics: dict[str, MetricState]


class Directory:
    """Reads what a service has written, and again what it has added since; it may be running or not.

    A poll is evidence when its event says that it was good and every line that it wrote is there, which leaves out polls that failed,
    hung or were skipped, and those whose records were dropped or deleted meanwhile.
    """

    def __init__(
        self,
        place: Union[Path, Source],
        metrics: Collection[str],
        state: Optional[DirectoryState] = None,
        *,
        window: Window = ALWAYS,
    ) -> None:
        """Read a log directory, or another source. `metrics` are those whose polls are wanted; of the others only the events are read.

        Begin where `state` says. Only what lies within the window is read.
        """
        known = state or DirectoryState(None, {})
        self._events = StreamReader(place, _EVENTS, start=known.events, window=window)
        states = {metric: known.metrics.get(metric) for metric in metrics}
        self._metrics = {metric: _Metric(_Lines(place, metric, state, window), state) for metric, state in states.items()}

    def state(self) -> DirectoryState:
        """Return what another one can go on from, after the newest event that was read; it changes with the next, so encode it at once."""
        return DirectoryState(self._events.place, {name: metric.state() for name, metric in self._metrics.items()})

    def read(self) -> Iterator[Heard]:
        """Yield the events that were added since the last call, in their order, each with its poll."""
        for event in self._events.read():
            metric = self._metrics.get(event.get("target", ""))
            poll = None
            if metric is not None:
                with contextlib.suppress(KeyError, TypeError, ValueError):  # a line that somebody else has written
                    if event["event"] == "poll":
                        poll = metric.poll(event)
                    elif event["event"] == "worker_start":
                        metric.started(event["target_run_id"])
            yield Heard(event, poll)


class _Metric:
    """The polls of one metric."""

    def __init__(self, lines: _Lines, state: Optional[MetricState]) -> None:
        known = state or MetricState("", None, None, None, [])
        self._name = lines.metric
        self._lines = lines
        self._rows_of = SharedRows(lines.metric)
        self._run, self._ended_ns = known.run_id, known.ended_ns
        self._fold = Fold()
        if known.folded is not None:
            self._fold.resume(known.folded)

    def state(self) -> MetricState:
        """Return what another one can go on from."""
        return MetricState(self._run, self._ended_ns, [*self._fold.rows] if self._fold.whole else None, self._lines.place, self._lines.runs)

    def started(self, run_id: str) -> None:
        """Note that a run has begun: lines of it come before those of the next one, whatever the clock says."""
        self._lines.expect(run_id)

    def poll(self, event: Event) -> Optional[Poll]:
        """Return the poll that the event tells of, None when it is no evidence."""
        run_id = event["target_run_id"]
        if run_id != self._run:
            self._run, self._fold, self._ended_ns = run_id, Fold(), None
        if event["status"] not in _GOOD:
            return None
        rows = self._rows(event)
        if rows is None:
            return None
        began_ns, ended_ns = self._instants(event, rows)
        self._ended_ns = ended_ns
        if began_ns is None:
            return None
        return Poll(self._name, run_id, event["poll"], began_ns, ended_ns, renamed(self._name, rows))

    def _rows(self, event: Event) -> Optional[list[Row]]:
        """The rows of a good poll, None when not all of them are known."""
        first = event.get("first_seq")
        records = () if first is None else self._lines.between(event["target_run_id"], first, event["last_seq"], event["ts"])
        lines = self._rows_of.poll(records)
        if event.get("digest") is None:
            return lines if len(lines) == event["rows"] else None
        if lines:
            self._fold.take(lines)
        elif event.get("key"):
            self._fold.clear()
        return list(self._fold.rows) if self._fold.whole and self._fold.digest == event["digest"] else None

    def _instants(self, event: Event, rows: list[Row]) -> tuple[Optional[int], int]:
        """Between when the server answered. Where the event doesn't say when the poll began, its first row or the poll before does."""
        if event.get("began"):
            began_ns = stamp_ns(event["began"])
            return began_ns, began_ns + math.ceil(event["duration_ms"] * 1e6) + _ROUNDING_NS
        began = stamp_ns(self._rows_of.first_ts) if rows and "change" not in rows[0] else self._ended_ns
        return began, stamp_ns(event["ts"])


class _Lines:
    """The lines of one metric, read once from the first to the last."""

    def __init__(self, place: Union[Path, Source], metric: str, state: Optional[MetricState], window: Window) -> None:
        self.metric = metric
        start, runs = (state.place, state.runs) if state is not None else (None, ())
        self._reader = StreamReader(place, metric, start=start, window=window)
        self._records: Iterator[dict[str, Any]] = iter(())
        self._head: Optional[dict[str, Any]] = None
        self._before_head = start
        self._runs: deque[str] = deque(runs, maxlen=_RUNS)

    @property
    def place(self) -> Optional[Place]:
        """Where the first line begins that nobody has asked for."""
        return self._reader.place if self._head is None else self._before_head

    @property
    def runs(self) -> list[str]:
        """The runs whose lines were asked for."""
        return [*self._runs]

    def expect(self, run_id: str) -> None:
        """Note a run of which there are lines, or will be."""
        if run_id not in self._runs:
            self._runs.append(run_id)

    def between(self, run_id: str, first_seq: int, last_seq: int, told: str) -> Iterator[Row]:
        """Yield those of these lines of a run that are there; `told` is the `ts` of the event that tells of them."""
        self.expect(run_id)
        while True:
            head, self._head = self._head or self._next(), None
            if head is None:
                break
            if head["run_id"] != run_id:
                # Lines of an earlier run that nobody told of are passed over; those of a later one wait for their event.
                if head["run_id"] in self._runs or head["ts"] < told:
                    continue
                self._head = head
                break
            if head["seq"] > last_seq:
                self._head = head
                break
            if head["seq"] >= first_seq:
                yield head
            if head["seq"] == last_seq:
                break

    def _next(self) -> Optional[dict[str, Any]]:
        """The next line; at the end of what was there, what was added since."""
        self._before_head = self._reader.place
        record = next(self._records, None)
        if record is None:
            self._records = self._reader.read()
            record = next(self._records, None)
        return record
