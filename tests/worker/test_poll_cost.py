"""What a poll asks of the operating system, counted and not timed."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Callable

from sqmon.clock import SystemClock
from sqmon.config.password import PasswordSource
from sqmon.config.settings import Connection, Metric, SegmentOptions
from sqmon.database.client import Database
from sqmon.ipc.reports import encode
from sqmon.records.encoder import Encoder
from sqmon.records.pipeline import Pipeline
from sqmon.simulator import Simulator
from sqmon.storage.segment_writer import SegmentWriter
from sqmon.worker.poller import Poller
from sqmon.worker.schedule import Tick

ROUND_TRIPS = 8
"""Answers that pysqream waits for: id, prepare, execute, types in, types out, rows, the end of the rows, close."""

REPORTS = 3
"""The query begins, the lines go to the disk, the poll is over."""

PLENTY = 40.0


def system_calls(action: Callable[[], None]) -> Counter[str]:
    """Return the functions of sockets and of the system that `action` calls in this thread, each of which is at least one system call."""
    calls: Counter[str] = Counter()

    def note(_: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and (isinstance(getattr(function, "__self__", None), socket.socket) or function.__module__ == "posix"):
            calls[function.__name__] += 1

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    del calls["fspath"]
    return calls


def test_poll_of_few_rows_is_few_system_calls(simulator: Simulator, tmp_path: Path) -> None:
    """A poll is one send and one receive for each answer, one write, a look at the file, and three reports."""
    to = Connection("127.0.0.1", simulator.port, "master", "sqream", "monitor", password=PasswordSource("sqream"))
    metric, clock = Metric("show_cluster_nodes", 1.0, PLENTY, "select show_cluster_nodes()"), SystemClock()
    writer = SegmentWriter(tmp_path, metric.name, SegmentOptions(), clock=clock, on_sealed=lambda _: None, on_dropped=lambda _: None)
    ours, theirs = socket.socketpair()
    with ours, theirs, contextlib.closing(Database(to)) as database, contextlib.closing(writer):
        pipeline = Pipeline(metric, to, "full", Encoder(metric.name, "run"))
        poller = Poller(metric, database, pipeline, writer, clock=clock, report=lambda report: ours.sendall(encode(report)))
        database.connect(PLENTY)

        def poll() -> None:
            poller.write(poller.fetch(Tick(clock.monotonic(), 0)))

        poll()
        calls = system_calls(poll)

    assert calls == {"send": ROUND_TRIPS, "recv": ROUND_TRIPS, "write": 1, "lstat": 1, "sendall": REPORTS}
