"""The installed agents with their shipped configurations, and a writer of lines for them to read."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import Callable, NamedTuple

import pytest

from sqmon.cli.agent_config import Installation, printed
from sqmon.clock import SystemClock
from sqmon.config.settings import SegmentOptions
from sqmon.records.encoder import Encoder
from sqmon.storage.segment_writer import SegmentWriter
from tests.support.loki import asked, free_port, nanoseconds, process, program
from tests.support.program import environment, wait_until

LABELS = {"job": "sqmon", "cluster": "chain", "instance": "host", "metric": "show_locks"}
"""The labels that every line of `Lines` must arrive with, beside its filename."""


class _Kind(NamedTuple):
    """How an agent is started, and what it is known to do differently."""

    words: str
    moved: dict[str, str]  # what of the shipped configuration has to be elsewhere here
    metrics: str  # where it tells numbers
    dropped: str  # the number of lines that were no records
    early_ns: int = 0  # by how much it may send a line before its time
    lost_per_stop: int = 0  # lines that it may take and never deliver when it is stopped while it reads a backlog


_KINDS = {
    "alloy": _Kind(
        "run --disable-reporting --storage.path={state} --server.http.listen-addr=127.0.0.1:{port} {config}",
        {},
        "/metrics",
        r'dropped_lines_total\{[^}]*reason="malformed_line"[^}]*\} (\S+)',
        lost_per_stop=4,
    ),
    "promtail": _Kind(
        "-config.expand-env=true -config.file={config}",
        {"/var/lib/promtail": "{state}", "http_listen_port: 9080": "http_listen_port: {port}"},
        "/metrics",
        r'dropped_lines_total\{[^}]*reason="malformed_line"[^}]*\} (\S+)',
    ),
    "fluent-bit": _Kind(
        "-c {config} -H -L 127.0.0.1 -P {port}",
        {"/var/lib/fluent-bit": "{state}"},
        "/api/v1/metrics/prometheus",
        r'filter_drop_records_total\{name="grep[^}]*\} (\S+)',
        early_ns=1,
    ),
}


class Agent:
    """An agent with its shipped configuration, which can be stopped, killed and started again."""

    def __init__(self, name: str, place: Path, loki_port: int) -> None:
        self._kind = _KINDS[name]
        self.lost_per_stop = self._kind.lost_per_stop
        self.start_seconds = 60.0
        path = program(name)
        self.log_dir = place / "lines"
        self.log_dir.mkdir()
        self._place = place
        self._port = free_port()
        self._stack = contextlib.ExitStack()
        state = place / "state"
        state.mkdir()
        config = place / ("agent.alloy" if name == "alloy" else "agent.yaml")
        text = printed(name, Installation(self.log_dir, "127.0.0.1", loki_port, LABELS["cluster"], LABELS["instance"]))
        for shipped, here in self._kind.moved.items():
            assert shipped in text
            text = text.replace(shipped, here.format(state=state, port=self._port))
        config.write_text(text, "utf-8")
        self._words = [path, *self._kind.words.format(state=state, port=self._port, config=config).split()]

    def __enter__(self) -> Agent:
        log = self._place / "agent.log"
        with contextlib.ExitStack() as stack:  # a program that never answers is ended
            self.running = stack.enter_context(process(self._words, log, environment(SQMON_INSTANCE=LABELS["instance"])))
            wait_until(lambda: asked(self._url())[0] == 200, self.start_seconds)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kill(self) -> None:
        """Kill it, in the middle of whatever it does."""
        self.running.send_signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.running.wait(5)

    def dropped(self) -> float:
        """Return how many lines that are no records it has counted."""
        return sum(map(float, re.findall(self._kind.dropped, asked(self._url())[1])))

    def has_time(self, ts: int, line: str) -> bool:
        """Whether `ts`, in nanoseconds since 1970, is the line's own time, as exactly as this agent reads it."""
        return 0 <= nanoseconds(json.loads(line)["ts"]) - ts <= self._kind.early_ns

    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self._kind.metrics}"


class Lines:
    """A writer of records like a worker's, with everything that it wrote: seq -> line."""

    def __init__(self, log_dir: Path, max_bytes: int) -> None:
        self._clock = SystemClock()
        self.run_id = f"run-{log_dir.parent.name}"
        self._encoder = Encoder("show_locks", self.run_id)
        self._writer = SegmentWriter(
            log_dir,
            "show_locks",
            SegmentOptions(max_bytes=max_bytes),
            clock=self._clock,
            on_sealed=lambda _: None,
            on_dropped=lambda dropped: pytest.fail(str(dropped)),
        )
        self.written: dict[int, str] = {}
        self._polls = 0

    def poll(self, rows: int) -> int:
        """Write so many records and return the last seq."""
        self._polls += 1
        values = [(str(number), 'create table t (x int) -- Zürich, \\ and "\x00', "sqream", 0.1 + 0.2) for number in range(rows)]
        columns = ("statement_id", "statement_string", "username", "share")
        for batch in self._encoder.rows(columns, values, poll=self._polls, started_ns=self._clock.time_ns()):
            self._writer.append(batch)
            for line in batch.data.decode().splitlines():
                self.written[json.loads(line)["seq"]] = line
        return self._encoder.seq

    def close(self) -> None:
        """Seal the last segment."""
        self._writer.close()


def written_over_stops(agent: Agent, max_bytes: int) -> Lines:
    """Write 16,000 records into segments of `max_bytes`, half of them while the agent is stopped."""
    lines = Lines(agent.log_dir, max_bytes)
    for stopped in (False, True, False, True):
        with contextlib.nullcontext() if stopped else agent:
            for _ in range(40):
                lines.poll(100)
    return lines


def torn(agent: Agent) -> tuple[Lines, Path]:
    """Write two records and two lines that are none, the first as a power failure leaves it; return the writer and the file."""
    lines = Lines(agent.log_dir, max_bytes=1 << 20)
    lines.poll(2)
    lines.close()
    (path,) = agent.log_dir.glob("*/*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"ts":"2026-11-24T15:30:50.123456000Z","seq":3,"metric":"show_lo\n{"torn":"}"}\n')
    return lines, path


def seconds_under_way(lines: Lines, has_arrived: Callable[[int], bool]) -> float:
    """Return the median time from the write of a line until `has_arrived` is true of its seq, of 15 lines with pauses between."""
    took = []
    for _ in range(15):
        began = time.monotonic()
        seq = lines.poll(1)
        wait_until(lambda seq=seq: has_arrived(seq))  # type: ignore[misc]
        took.append(time.monotonic() - began)
    return statistics.median(took)
