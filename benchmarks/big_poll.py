"""Polls of show_locks, from the server's socket to the file, against a bare fetchall of the same rows.

A poll of 100,000 rows: seconds, CPU and peak memory of both, measured in turns in fresh processes against one simulator, their ratio,
and the memory beside the bytes on the wire. A poll of 1,247 rows, as large as a busy cluster's: CPU of both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Union

from sqmon.clock import SystemClock
from sqmon.config.password import PasswordSource
from sqmon.config.settings import Connection, Metric, SegmentOptions
from sqmon.database.client import Database
from sqmon.database.read_ahead import ReadAhead
from sqmon.ipc.reports import Report
from sqmon.records.encoder import Encoder
from sqmon.records.pipeline import Pipeline
from sqmon.storage.segment_writer import SegmentWriter
from sqmon.worker.poller import Poller
from sqmon.worker.schedule import Tick

QUERY = "select show_locks()"
SECONDS = 120.0
ORDINARY_ROWS = 1_247
ORDINARY_POLLS = 50

Poll = Callable[[], None]


class Cost(NamedTuple):
    """What polls took, in a process of their own."""

    seconds: float
    """Of wall time, the first poll."""
    cpu: float
    """Seconds of all threads, the mean of all polls."""
    peak_mib: float
    before_mib: float
    wire_mib: float
    """Bytes that came from the server, a poll."""


@contextlib.contextmanager
def bare(database: Database) -> Iterator[Poll]:
    """Yield execute and fetchall of a cursor that nothing of ours is attached to."""
    with database._step(SECONDS):  # noqa: SLF001 - the driver as it is, logged in by us
        cursor = database._connection.cursor()  # noqa: SLF001

    def poll() -> None:
        with database._step(SECONDS):  # noqa: SLF001
            cursor.execute(QUERY)
            cursor.fetchall()

    yield poll


@contextlib.contextmanager
def whole(database: Database) -> Iterator[Poll]:
    """Yield a whole poll, until its lines are in the file."""
    with tempfile.TemporaryDirectory() as directory:
        clock = SystemClock()
        writer = SegmentWriter(
            Path(directory), "show_locks", SegmentOptions(), clock=clock, on_sealed=lambda _: None, on_dropped=lambda _: None
        )
        reports: list[Report] = []
        metric = Metric("show_locks", 2.0, SECONDS, QUERY)
        pipeline = Pipeline(metric, Connection("127.0.0.1", 5000, "master", "sqream", "monitor"), "full", Encoder("show_locks", "run"))
        poller = Poller(metric, database, pipeline, writer, clock=clock, report=reports.append)

        def poll() -> None:
            poller.write(poller.fetch(Tick(clock.monotonic(), 0)))
            writer.tick()
            assert writer.pending == 0

        yield poll
        writer.close()


def measure(port: int, way: Callable[[Database], Any], polls: int = 1) -> Cost:
    """Return what `polls` polls cost in a forked process of their own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writer, json.dumps(cost_of(port, way, polls)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        cost = Cost(*json.loads(answers.read()))
    os.waitpid(pid, 0)
    return cost


def cost_of(port: int, way: Callable[[Database], Any], polls: int) -> Cost:
    """Return what `polls` polls cost in this process."""
    received = counted()
    database = Database(Connection("127.0.0.1", port, "master", "sqream", "monitor", password=PasswordSource("sqream")))
    database.connect(SECONDS)
    with way(database) as poll:
        before, at_start = peak_mib(), received[0]
        began, cpu = time.perf_counter(), time.process_time()
        poll()
        took = time.perf_counter() - began
        for _ in range(polls - 1):
            poll()
        return Cost(took, (time.process_time() - cpu) / polls, peak_mib(), before, (received[0] - at_start) / polls / (1 << 20))


def counted() -> list[int]:
    """Return a list of one number, to which every byte that is received from now on is added."""
    received, original = [0], ReadAhead.receive

    def receive(self: ReadAhead, size: int) -> Union[bytes, bytearray]:
        received[0] += size
        return original(self, size)

    ReadAhead.receive = receive  # type: ignore[method-assign]
    return received


def peak_mib() -> float:
    """Return the largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def simulator(rows: int) -> Iterator[int]:
    """Yield the port of a worker with so many locks."""
    command = [sys.executable, "-m", "sqmon.simulator", "--port", "0", "--rows_locks", str(rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline().rsplit(":", 1)[1])
            measure(port, bare)  # so that it has made the rows
            yield port
        finally:
            process.terminate()


def medians(costs: list[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(*map(statistics.median, zip(*costs)))


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with simulator(args.rows) as port:
        pairs = [(measure(port, bare), measure(port, whole)) for _ in range(args.rounds)]
    with simulator(ORDINARY_ROWS) as port:
        ordinary = [(measure(port, bare, ORDINARY_POLLS), measure(port, whole, ORDINARY_POLLS)) for _ in range(args.rounds)]
    fetchall, poll = (medians([pair[place] for pair in pairs]) for place in (0, 1))
    figures = {
        "rows": args.rows,
        "fetchall": {name: round(value, 3) for name, value in fetchall._asdict().items()},
        "poll": {name: round(value, 3) for name, value in poll._asdict().items()},
        "ratio": round(statistics.median(ours.seconds / theirs.seconds for theirs, ours in pairs), 3),
        "cpu_ratio": round(statistics.median(ours.cpu / theirs.cpu for theirs, ours in pairs), 3),
        "memory_by_wire": round((poll.peak_mib - poll.before_mib) / poll.wire_mib, 2),
        "ordinary_rows": ORDINARY_ROWS,
        "ordinary_cpu_ms": round(1000 * statistics.median(ours.cpu for _, ours in ordinary), 2),
        "ordinary_fetchall_cpu_ms": round(1000 * statistics.median(theirs.cpu for theirs, _ in ordinary), 2),
    }
    if args.json:
        print(json.dumps(figures))
        return
    print(f"{args.rows} rows, {poll.wire_mib:.1f} MiB on the wire")
    for name, cost in (("fetchall", fetchall), ("poll", poll)):
        print(
            f"{name:9} {cost.seconds:7.3f} s  {cost.cpu:7.3f} s of CPU  "
            f"peak {cost.peak_mib:6.1f} MiB, {cost.peak_mib - cost.before_mib:6.1f} MiB more than before"
        )
    print(f"a poll takes {figures['ratio']:.2f} times as long as fetchall alone, and {figures['cpu_ratio']:.2f} times its CPU")
    print(f"a poll needs {figures['memory_by_wire']:.2f} times the bytes on the wire")
    print(
        f"{ORDINARY_ROWS} rows: {figures['ordinary_cpu_ms']:.2f} ms of CPU a poll"
        f" ({figures['ordinary_fetchall_cpu_ms']:.2f} ms for fetchall alone)"
    )


if __name__ == "__main__":
    main()
