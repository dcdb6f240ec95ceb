"""The agents on PATH with their shipped configurations, moved to free ports, and a writer of lines for them to read."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from sqmon.agent_config import Installation, printed
from sqmon.clock import SystemClock
from sqmon.record import Encoder
from sqmon.segments import SegmentOptions, SegmentWriter
from tests.loki import asked, free_port, process, program
from tests.program import environment, wait_until

LABELS = {"job": "sqmon", "cluster": "chain", "instance": "host", "metric": "show_locks"}
"""What every line of `Lines` has to arrive with, beside its filename."""


class _Kind(NamedTuple):
    """What differs between agents in how they are started."""

    words: str
    moved: dict[str, str]  # what of the shipped configuration has to be elsewhere here
    metrics: str  # where it tells numbers
    dropped: str  # the number of lines that were no records


_KINDS = {
    "alloy": _Kind(
        "run --disable-reporting --storage.path={state} --server.http.listen-addr=127.0.0.1:{port} {config}",
        {},
        "/metrics",
        r'dropped_lines_total\{[^}]*reason="malformed_line"[^}]*\} (\S+)',
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
    ),
}


class Agent:
    """An agent with its shipped configuration, which can be stopped, killed and started again."""

    def __init__(self, name: str, place: Path, loki_port: int) -> None:
        self._kind = _KINDS[name]
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
        self.running = self._stack.enter_context(
            process(self._words, self._place / "agent.log", environment(SQMON_INSTANCE=LABELS["instance"]))
        )
        wait_until(lambda: asked(self._url())[0] == 200)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self.running.send_signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.running.wait(5)

    def dropped(self) -> float:
        """Return how many lines that are no records it has counted."""
        return sum(map(float, re.findall(self._kind.dropped, asked(self._url())[1])))

    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self._kind.metrics}"


class Lines:
    """A writer of records as a worker has it, and everything that it wrote: seq -> line."""

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
