"""Random schedules of kills, failures and losses for the stream of lifetimes, each made from its seed alone, against the truth."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from sqmon.clock import stamp_ns, utc_stamp
from sqmon.config.settings import Connection, Emit, Metric, SegmentOptions
from sqmon.lifetimes.following import Following
from sqmon.lifetimes.lines import METRIC, Line
from sqmon.lifetimes.stream_end import StreamEnd, stream_end
from sqmon.records.pipeline import Pipeline
from sqmon.result import by_column
from sqmon.simulator.cluster import Cluster
from sqmon.simulator.default_functions import Caller, Question
from sqmon.simulator.life import Life
from sqmon.simulator.other_functions import FUNCTIONS
from sqmon.simulator.truth import nanoseconds
from sqmon.storage.reader import StreamReader, segments
from tests.support.segment_files import Stream

POLLED = ("show_locks", "show_server_status")
INTERVAL = 2.0
_HIDDEN_S = 60.0
_CONNECTION = Connection(host="localhost", port=5000, database="master", user="sqream", service="monitor")
_LOCK = ("statement_id", "locked_object", "lock_mode")
_KINDS = (
    ("locks", "show_locks", "lock_acquired", "lock_released", _LOCK),
    ("statements", "show_server_status", "statement_seen", "statement_ended", ("statement_id",)),
)


class Told(NamedTuple):
    """What a schedule has shown: how many lines there are, and how many are missing, double, or untrue."""

    lines: int
    missing: int
    doubled: int
    untrue: int
    kills: int


class _Run(Stream):
    """One run of a worker: a stream with the pipeline that makes its lines."""

    def __init__(self, log_dir: Path, options: SegmentOptions, metric: str, emit: Emit, clock: _HostClock) -> None:
        super().__init__(log_dir, options, metric=metric, clock=clock)  # type: ignore[arg-type]
        settings = Metric(metric, INTERVAL, 10.0, f"select {metric}()", emit=emit, keyframe_s=60.0)
        self.pipeline = Pipeline(settings, _CONNECTION, "full", self.encoder)
        self.whole_in: Optional[Path] = None


class _HostClock:
    """The monitor's clock: that of the cluster's world, until somebody sets it."""

    def __init__(self, world: Callable[[], float]) -> None:
        self._world = world
        self.steps = [(0.0, 0.0)]
        """From when on, in the world's time, it has been how far ahead."""
        self.steps_back: list[float] = []

    def step(self, seconds: float) -> None:
        """Set it forward or back."""
        self.steps.append((self._world(), self.steps[-1][1] + seconds))
        if seconds < 0:
            self.steps_back.append(self._world())

    def at(self, world_ns: int) -> int:
        """Return what it showed at an instant."""
        ahead = [ahead for since, ahead in self.steps if nanoseconds(since) <= world_ns][-1]
        return world_ns + int(ahead * 1e9)

    def time_ns(self) -> int:
        """See Clock."""
        return self.at(nanoseconds(self._world()))

    def monotonic(self) -> float:
        """See Clock."""
        return self._world()


class _Site:
    """A cluster, a monitor whose parts are killed, and the process that follows its files."""

    def __init__(self, seed: int, log_dir: Path) -> None:
        self.rng = random.Random(seed)
        self.now = 1_795_521_600.0
        self.clock = _HostClock(lambda: self.now)
        life = Life(contention=self.rng.choice([0.0, 0.3]), clock_skew=self.rng.choice([0.0, -75.5]))
        self.cluster = Cluster(clock=lambda: self.now, seed=seed, databases=("master",), services=("sqream", "monitor"), life=life)
        self.generation = self.rng.choice(["4.6", "4.10"])
        self.log_dir = log_dir
        self.options = SegmentOptions(max_bytes=self.rng.choice([20_000, 200_000, 1 << 26]), fsync="never")
        self.emit: Emit = self.rng.choice(["rows", "changes"])
        self.asked: dict[str, list[int]] = {metric: [] for metric in POLLED}
        """When each poll was answered that is evidence."""
        self.exact = True
        """Whether every lifetime that a poll saw must be told once: nothing was deleted, and columns stayed."""
        self.kills = 0
        self.events = self._stream("sqmon")
        self.runs = {metric: self._run(metric) for metric in POLLED}
        self.follower: Optional[tuple[Following, Stream]] = None
        self.ended: list[Stream] = []

    def _stream(self, metric: str) -> Stream:
        return Stream(self.log_dir, self.options, metric=metric, clock=self.clock)  # type: ignore[arg-type]

    def _run(self, metric: str) -> _Run:
        run = _Run(self.log_dir, self.options, metric, self.emit, self.clock)
        self._event("worker_start", {"target": metric, "target_run_id": run.run_id})
        return run

    def poll(self, metric: str, *, good: bool = True, told: bool = True) -> None:
        """Poll; a poll that isn't good fails, one that isn't told has a supervisor that dies before its event."""
        run = self.runs[metric]
        began, began_ns = self.now, self.clock.time_ns()
        self.cluster.advance()
        text = f"select {metric}()"
        caller = Caller(1, "sqream", "master", "monitor", "127.0.0.1", began, self.cluster.next_statement_id(), text, began)
        self.now += self.rng.uniform(0.0, 0.15)
        answered = self.cluster.advance()
        function = FUNCTIONS[metric]
        columns = [column.name for column in function.columns[self.generation]]
        asked = Question(self.cluster, self.generation, False, "v2023.1.0", caller)
        rows = [row[: len(columns)] for row in function.rows(asked)]
        self.now += self.rng.uniform(0.0, 0.15)
        run.polls += 1
        before = run.encoder.seq
        if good:
            if run.writer.path != run.whole_in:
                run.pipeline.restart()
            result = by_column(columns, rows)
            for batch in run.pipeline.lines(result, poll=run.polls, now=began, started_ns=began_ns):
                run.writer.append(batch)
            if run.pipeline.changes is not None and run.pipeline.changes.key:
                run.whole_in = run.writer.path
        if not told:
            return
        last = run.encoder.seq
        fields: dict[str, Any] = {
            "target": metric,
            "target_run_id": run.run_id,
            "status": ("ok" if rows else "empty") if good else "error",
            "poll": run.polls,
            "began": utc_stamp(began_ns),
            "rows": len(rows) if good else 0,
            "duration_ms": (self.now - began) * 1000,
            "first_seq": before + 1 if last > before else None,
            "last_seq": last if last > before else None,
        }
        if good and run.pipeline.changes is not None:
            fields.update(run.pipeline.changes._asdict())
        self._event("poll", fields)
        if good:
            self.asked[metric].append(nanoseconds(answered))

    def _event(self, event: str, fields: dict[str, Any]) -> None:
        self.events.writer.append(self.events.encoder.event("info", event, fields, now_ns=self.clock.time_ns()))

    def step(self) -> None:
        """Let a poll of each metric come, and one random thing more."""
        for metric in POLLED:
            chance = self.rng.random()
            if chance < 0.9:
                self.poll(metric, good=chance < 0.85)
        self.now += INTERVAL
        events: list[tuple[int, Callable[[], object]]] = [
            (30, lambda: None),
            (20, self.follow),
            (6, lambda: self.follow(most=self.rng.randrange(1, 12))),
            (3, self.follower_stopped),
            (2, lambda: self.worker_killed(self.rng.choice(POLLED))),
            (1, self.supervisor_killed),
            (1, self.cluster.restart),
            (1, lambda: self.clock.step(self.rng.choice([-3600.0, -20.0, 30.0, 3600.0]))),
            (1, lambda: self.outage(self.rng.choice([20.0, 700.0]))),
        ]
        (event,) = self.rng.choices([event for _, event in events], [weight for weight, _ in events])
        event()

    def outage(self, seconds: float) -> None:
        """Let time pass in which nobody polls; no poll would show that the clock had been set back by less than that."""
        if not any(self.now - at < _HIDDEN_S for at in self.clock.steps_back):
            self.now += seconds

    def worker_killed(self, metric: str) -> None:
        """Kill a worker, sometimes in the middle of a line or before its poll is told."""
        self.kills += 1
        if self.rng.random() < 0.5:
            self.poll(metric, told=False)
        self._leave(self.runs[metric])
        self.runs[metric] = self._run(metric)

    def supervisor_killed(self) -> None:
        """Kill the service, and the follower with it."""
        self.follower_killed()
        self._leave(self.events)
        self.events = self._stream("sqmon")
        for metric in POLLED:
            self.worker_killed(metric)

    def _leave(self, stream: Stream) -> None:
        segment = stream.writer._segment
        if segment is not None:
            if self.rng.random() < 0.5:
                os.write(segment._descriptor, b'{"ts":"2026-11-24T12:00')
            os.close(segment._descriptor)

    def follow(self, *, most: int = 1 << 30) -> None:
        """Let the follower tell what is new; after so many lines it is killed."""
        if self.follower is None:
            self.follower = Following(self.log_dir, stream_end(self.log_dir)), self._stream(METRIC)
        following, stream = self.follower
        for lines in following.read():
            for line in lines:
                fields = {name: value for name, value in line.items() if name not in ("ts", "metric")}
                stream.writer.append(stream.encoder.timed(stamp_ns(line["ts"]), fields))
                most -= 1
                if not most:
                    self.follower_killed()
                    return

    def follower_killed(self) -> None:
        """Kill the follower."""
        self.kills += 1
        if self.follower is not None:
            self._leave(self.follower[1])
            self.follower = None

    def follower_stopped(self) -> None:
        """Stop the follower in good order."""
        if self.follower is not None:
            self.follower[1].writer.close()
            self.follower = None

    def columns_changed(self) -> None:
        """Upgrade the server: from now on it sends other columns."""
        self.exact = False
        self.generation = "4.10" if self.generation == "4.6" else "4.6"

    def deleted(self) -> None:
        """Delete the oldest segment of a stream, as retention does."""
        self.exact = False
        paths = segments(self.log_dir, self.rng.choice([*POLLED, "sqmon"]), archived=False)
        if len(paths) > 1:
            paths[0].unlink()

    def end(self) -> Told:
        """Let the follower tell the rest, and compare what there is with what there should be."""
        self.follow()
        self.follower_stopped()
        lines = [
            {name: value for name, value in line.items() if name not in ("seq", "run_id")}
            for line in StreamReader(self.log_dir, METRIC).read()
        ]
        missing = doubled = 0
        if self.exact:
            anew = [line for found in Following(self.log_dir, StreamEnd()).read() for line in found]
            missing += json.dumps(lines) != json.dumps(anew)
        truth = self.cluster.truth.as_dict()
        untrue = 0
        for kind, metric, came, went, names in _KINDS:
            spans = truth[kind]
            known: dict[tuple[str, ...], list[dict[str, Any]]] = {}
            for span in spans:
                known.setdefault(tuple(span[name] for name in names), []).append(span)
            for line in lines:
                if line["event"] in (came, went):
                    untrue += not any(self._fits(line, span) for span in known.get(tuple(line[name] for name in names), ()))
            if self.exact:
                seen = [span for span in spans if any(self._is_there(span, at) for at in self.asked[metric])]
                over = [span for span in seen if span["ended_ns"] is not None and span["ended_ns"] <= self.asked[metric][-1]]
                for event, expected in ((came, seen), (went, over)):
                    told = Counter(tuple(line[name] for name in names) for line in lines if line["event"] == event)
                    wanted = Counter(tuple(span[name] for name in names) for span in expected)
                    missing += sum((wanted - told).values())
                    doubled += sum((told - wanted).values())
        return Told(len(lines), missing, doubled, untrue, self.kills)

    @staticmethod
    def _is_there(span: dict[str, Any], at_ns: int) -> bool:
        return span["began_ns"] <= at_ns and (span["ended_ns"] is None or at_ns < span["ended_ns"])

    def _fits(self, line: Line, span: dict[str, Any]) -> bool:
        """Whether the truth lies within the bounds; nothing can be said of a lifetime in which the clock was set back."""
        over = span["ended_ns"] if span["ended_ns"] is not None else 1 << 62
        if line["clock_stepped"] or any(span["began_ns"] <= nanoseconds(at) <= over for at in self.clock.steps_back):
            return True
        ended = self.clock.at(over)
        # What the server says of a beginning is told by the host's clock of today, which may have been set forward since.
        ahead = [ahead for _, ahead in self.clock.steps] if line["began_known"] == "server" else []
        began = [self.clock.at(span["began_ns"]), *(span["began_ns"] + int(each * 1e9) for each in ahead)]
        after, before = line["began_after"], line["ended_before"]
        return (
            any((after is None or stamp_ns(after) <= each) and each <= stamp_ns(line["began_before"]) for each in began)
            and stamp_ns(line["ended_after"]) <= ended
            and (before is None or ended <= stamp_ns(before))
        )


def run(seed: int) -> Told:
    """Run one schedule. With every fifth seed, columns change or segments are deleted; with the others, every line must be there."""
    with tempfile.TemporaryDirectory() as place:
        site = _Site(seed, Path(place) / "logs")
        for number in range(site.rng.choice([30, 100, 200])):
            site.step()
            if seed % 5 == 0 and number % 40 == 39:
                (site.columns_changed if seed % 2 else site.deleted)()
        return site.end()
