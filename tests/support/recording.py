"""A recording: what a service would have written of polls at chosen times, by its own encoders and writers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from sqmon.clock import utc_stamp
from sqmon.config.settings import Connection, Emit, FileOutput, Metric, SegmentOptions, SegmentOutput
from sqmon.records.encoder import Encoder
from sqmon.records.pipeline import Pipeline
from sqmon.result import by_column
from sqmon.storage.streams import streams_of
from sqmon.storage.writer import LineWriter, Sealed
from tests.support.clocks import FakeClock

CONNECTION = Connection("localhost", 5000, "master", "sqream", "monitor", server_timezone="UTC")


class Recording:
    """Polls and events from noon of a day in 2026 on; `place` is a log directory, or the single file of file-only mode."""

    def __init__(
        self, place: Path, *, max_bytes: int = 64 << 20, single: bool = False, emit: Emit = "rows", keyframe_s: float = 600
    ) -> None:
        self.clock = FakeClock()
        self.run_id = "20261124T120000Z-0001"
        self.sealed: list[Sealed] = []
        self._streams = streams_of(
            FileOutput(place, max_bytes, 7, 8 << 20) if single else SegmentOutput(place, SegmentOptions(max_bytes=max_bytes))
        )
        self._emit, self._keyframe_s = emit, keyframe_s
        self._writers: dict[str, LineWriter] = {}
        self._encoders: dict[str, Encoder] = {}
        self._pipelines: dict[str, Pipeline] = {}
        self._polls: dict[str, int] = {}

    def poll(self, metric: str, rows: Sequence[Mapping[str, Any]], *, lasts: float = 0.01, status: str = "", **more: Any) -> int:
        """Poll these rows, which have the same keys, and tell of it in an event; return when the poll began."""
        began_ns = self.clock.time_ns()
        poll = self._polls[metric] = self._polls.get(metric, 0) + 1
        pipeline = self._pipeline(metric)
        before = pipeline.seq
        self.clock.advance(lasts)
        columns = [*rows[0]] if rows else []
        result = by_column(columns, [tuple(row.values()) for row in rows])
        if not status:
            now = self.clock.monotonic()
            for batch in pipeline.lines(result, poll=poll, now=now, started_ns=began_ns):
                self._writer(metric).append(batch)
        wrote = pipeline.seq > before
        changes = pipeline.changes._asdict() if pipeline.changes is not None and not status else {}
        self.event(
            "poll",
            target=metric,
            target_run_id=self.run_id,
            status=status or ("ok" if rows else "empty"),
            poll=poll,
            began=utc_stamp(began_ns),
            rows=None if status else len(rows),
            duration_ms=lasts * 1000,
            late_ms=0.0,
            first_seq=before + 1 if wrote else None,
            last_seq=pipeline.seq if wrote else None,
            error=more.get("error"),
            **changes,
        )
        return began_ns

    def event(self, event: str, level: str = "info", **fields: Any) -> None:
        """Write an event of the service."""
        self._writer("sqmon").append(self._encoder("sqmon").event(level, event, fields, now_ns=self.clock.time_ns()))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def restart(self, run_id: str) -> None:
        """Go on as another run, in new segments."""
        self.close()
        self.run_id = run_id

    def close(self) -> None:
        """End all segments."""
        for writer in self._writers.values():
            writer.close()
        for each in (self._writers, self._encoders, self._pipelines, self._polls):
            each.clear()

    def _writer(self, metric: str) -> LineWriter:
        if metric not in self._writers:
            self._writers[metric] = self._streams.writer(
                metric, clock=self.clock, on_sealed=self.sealed.append, on_dropped=lambda dropped: _fail(str(dropped))
            )
        return self._writers[metric]

    def _encoder(self, metric: str) -> Encoder:
        return self._encoders.setdefault(metric, self._streams.encoder(metric, self.run_id, on_step=lambda _: None))

    def _pipeline(self, metric: str) -> Pipeline:
        if metric not in self._pipelines:
            made = Metric(metric, 1.0, 10.0, f"select {metric}()", emit=self._emit, keyframe_s=self._keyframe_s)
            self._pipelines[metric] = Pipeline(made, CONNECTION, "full", self._encoder(metric))
        return self._pipelines[metric]


def _fail(text: str) -> Optional[Any]:
    raise AssertionError(text)
