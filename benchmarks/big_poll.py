"""One poll of 100,000 show_locks rows, from the server's socket to the file, against a bare fetchall of the same rows.

Prints seconds and peak memory of both, measured in turns in fresh processes against one simulator, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

from sqmon.clock import SystemClock
from sqmon.config.password import PasswordSource
from sqmon.config.settings import Connection, Metric, SegmentOptions
from sqmon.database.client import Database
from sqmon.ipc.reports import Report
from sqmon.records.encoder import Encoder
from sqmon.records.pipeline import Pipeline
from sqmon.storage.segment_writer import SegmentWriter
from sqmon.worker.poller import Poller
from sqmon.worker.schedule import Tick

QUERY = "select show_locks()"
SECONDS = 120.0


def bare(database: Database) -> float:
    """Return the seconds that execute and fetchall take."""
    cursor = database._cursor  # noqa: SLF001 - the driver as it is, logged in by us
    with database._step(SECONDS):  # noqa: SLF001
        began = time.perf_counter()
        cursor.execute(QUERY)
        cursor.fetchall()
        return time.perf_counter() - began


def whole(database: Database) -> float:
    """Return the seconds that a whole poll takes, until its lines are in the file."""
    with tempfile.TemporaryDirectory() as directory:
        clock = SystemClock()
        writer = SegmentWriter(
            Path(directory), "show_locks", SegmentOptions(), clock=clock, on_sealed=lambda _: None, on_dropped=lambda _: None
        )
        reports: list[Report] = []
        metric = Metric("show_locks", 2.0, SECONDS, QUERY)
        pipeline = Pipeline(metric, Connection("127.0.0.1", 5000, "master", "sqream", "monitor"), "full", Encoder("show_locks", "run"))
        poller = Poller(metric, database, pipeline, writer, clock=clock, report=reports.append)
        began = time.perf_counter()
        poller.write(poller.fetch(Tick(clock.monotonic(), 0)))
        took = time.perf_counter() - began
        assert writer.pending == 0
        writer.close()
    return took


def measure(port: int, task: Callable[[Database], float]) -> tuple[float, float, float]:
    """Return seconds, peak RSS in MiB and RSS before, of `task` in a forked process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        database = Database(Connection("127.0.0.1", port, "master", "sqream", "monitor", password=PasswordSource("sqream")))
        database.connect(SECONDS)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        took = task(database)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        os.write(writer, json.dumps([took, peak, before]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        took, peak, before = json.loads(answers.read())
    os.waitpid(pid, 0)
    return took, peak, before


def main() -> None:
    """Measure in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    command = [sys.executable, "-m", "sqmon.simulator", "--port", "0", "--rows_locks", str(args.rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        port = int(simulator.stdout.readline().rsplit(":", 1)[1])
        try:
            measure(port, bare)
            runs = [(measure(port, bare), measure(port, whole)) for _ in range(args.rounds)]
        finally:
            simulator.terminate()
    figures = {
        name: {
            "seconds": round(statistics.median(run[place][0] for run in runs), 3),
            "peak_mib": round(statistics.median(run[place][1] for run in runs), 1),
            "before_mib": round(statistics.median(run[place][2] for run in runs), 1),
        }
        for place, name in enumerate(("fetchall", "poll"))
    }
    ratio = statistics.median(whole_run[0] / bare_run[0] for bare_run, whole_run in runs)
    if args.json:
        print(json.dumps({**figures, "ratio": round(ratio, 3), "rows": args.rows}))
        return
    for name, figure in figures.items():
        print(f"{name:9} {figure['seconds']:7.3f} s   peak {figure['peak_mib']:7.1f} MiB (before: {figure['before_mib']:.1f} MiB)")
    print(f"a poll takes {ratio:.2f} times as long as fetchall alone")


if __name__ == "__main__":
    main()
