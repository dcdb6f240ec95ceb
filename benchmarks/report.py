"""The report of many rows: seconds, peak memory and the size of the page, for a site whose files are written here first.

Usage: python -m benchmarks.report [--rows N] [--keep DIR]
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from sqmon.clock import utc_stamp
from sqmon.config import catalogue
from sqmon.records.encoder import Encoder
from sqmon.records.sql_text import statement_hash
from sqmon.storage.segment_names import SegmentName

_LOCKS = 1_247
"""At once, as in a busy cluster of the vendor's."""
_STATEMENTS = 40
_INTERVAL_S = 2
_SEGMENT_BYTES = 64 << 20
_CHURN = 0.01
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_TEXTS = (
    "insert into sales.orders_{0} select * from staging.orders_{0} where loaded_at > '2026-11-24' and batch = {1}",
    "update sales.stock_{0} set amount = {1} where article = '{1}'",
    "select region, sum(amount) from sales.orders_{0} where day between '2026-01-01' and '2026-{1}' group by region order by 2 desc",
    "truncate table staging.orders_{0}",
    "delete from crm.contacts_{0} where email = 'ann.{1}@example.com'",
)


class Stream:
    """The segments of one metric."""

    def __init__(self, log_dir: Path, metric: str) -> None:
        self._directory = log_dir / metric
        self._directory.mkdir(parents=True)
        self._metric = metric
        self._number = self._size = 0
        self.encoder = Encoder(metric, f"20261124T000000Z-{len(metric):04x}")

    def write(self, data: bytes, now_ns: int) -> None:
        """Append lines to the newest segment, or to a new one."""
        if not self._number or self._size + len(data) > _SEGMENT_BYTES:
            self._number, self._size = self._number + 1, 0
        path = self._directory / SegmentName(self._number, now_ns // 1000).text(self._metric)
        if self._size == 0:
            self._path = path
        with self._path.open("ab") as file:
            self._size += file.write(data)


class Site:
    """A cluster whose statements come, wait, run and go, and the files of the service that polls it."""

    def __init__(self, log_dir: Path, seed: int) -> None:
        self._log_dir = log_dir
        self._random = random.Random(seed)
        self._streams: dict[str, Stream] = {}
        self._next = 1
        self._polls = 0
        self.rows = 0
        self._locks: dict[int, tuple[Any, ...]] = {}
        self._statements: dict[int, list[Any]] = {}

    def poll(self, metric: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], now_ns: int) -> None:
        """Write a poll that returned these rows, and its event."""
        self._polls += 1
        self.rows += len(rows)
        stream, first = self._stream(metric), self._stream(metric).encoder.seq + 1
        for batch in stream.encoder.rows(columns, rows, poll=self._polls, started_ns=now_ns):
            stream.write(batch.data, now_ns)
        last = stream.encoder.seq
        told = {"began": utc_stamp(now_ns), "poll": self._polls, "rows": len(rows), "duration_ms": 120.0, "late_ms": 0.1}
        seqs = {"first_seq": first if rows else None, "last_seq": last if rows else None}
        run = {"target": metric, "target_run_id": f"20261124T000000Z-{len(metric):04x}", "status": "ok" if rows else "empty"}
        self.event("poll", {**run, **told, **seqs}, now_ns + 10**9)

    def event(self, event: str, fields: Mapping[str, Any], now_ns: int) -> None:
        """Write an event of the service."""
        stream = self._stream("sqmon")
        stream.write(stream.encoder.event("info", event, fields, now_ns=now_ns).data, now_ns)

    def go_on(self, now_ns: int, locks: int) -> None:
        """Let statements come and go for one interval, and poll."""
        draw, second = self._random, now_ns // 10**9
        for number in [each for each in self._locks if draw.random() < _CHURN]:
            del self._locks[number]
        while len(self._locks) < locks:
            number, text, user = self._statement()
            table = draw.randrange(300)
            row = (
                number,
                text,
                user,
                "10.0.0.1",
                5000,
                f"table$master$sales$orders_{table}$Update",
                "Exclusive",
                _text(second),
                _text(second),
                1,
                1,
            )
            self._locks[number] = (*row, statement_hash(text))
        for number in [each for each, row in self._statements.items() if draw.random() < (0.3 if row[11] == "Executing" else 0.0)]:
            del self._statements[number]
        for statement in self._statements.values():
            if statement[11] != "Executing" and draw.random() < 0.4:
                statement[11], statement[12] = "Executing", _text(second)
        while len(self._statements) < min(_STATEMENTS, locks):
            number, text, user = self._statement()
            node = f"node_{draw.randrange(8)}"
            status = draw.choice(("Executing", "In queue", "Preparing"))
            place = [draw.choice(("sqream", "etl", "reporting")), node, 1, "10.0.0.1", 5000, "master", user, "10.1.0.7"]
            self._statements[number] = [
                *place,
                number,
                text,
                _text(second - 1),
                status,
                _text(second - 1),
                1,
                1,
                False,
                statement_hash(text),
            ]
        own = self._statement()[0]
        mine = ["monitor", "node_9", 1, "10.0.0.9", 5000, "master", "sqream", "", own, "select show_server_status()", _text(second)]
        computed = (*catalogue.FUNCTIONS["show_server_status"].columns, "statement_age_s", "status_age_s", "is_self", "statement_hash")
        rows = [*self._statements.values(), [*mine, "Executing", _text(second), 0, 0, True, "0"]]
        self.poll("show_server_status", computed, rows, now_ns)
        self.poll("show_locks", (*catalogue.FUNCTIONS["show_locks"].columns, "statement_hash"), [*self._locks.values()], now_ns + 10**8)
        nodes = [("10.0.0.1", 5000 + each, 1, f"node_{each}", 1, "available") for each in range(8) if draw.random() < 0.999]
        self.poll("show_cluster_nodes", catalogue.FUNCTIONS["show_cluster_nodes"].columns, nodes, now_ns + 2 * 10**8)
        licence = (8.2e12, 2.4e13, "compressed", 1e13, "2026-12-20", 0, 0, 1.8e12, 0, 0, 0, 25, 0.82)
        computed = (*catalogue.FUNCTIONS["get_license_info"].columns, "days_to_expiration", "size_used_ratio")
        self.poll("get_license_info", computed, [licence], now_ns + 3 * 10**8)

    def _statement(self) -> tuple[int, str, str]:
        self._next += 1
        draw = self._random
        text = draw.choice(_TEXTS).format(draw.randrange(40), draw.randrange(10**6))
        return self._next, text, draw.choice(("etl", "reporting", "analyst", "load_user"))

    def _stream(self, metric: str) -> Stream:
        if metric not in self._streams:
            self._streams[metric] = Stream(self._log_dir, metric)
        return self._streams[metric]


def written(log_dir: Path, rows: int) -> int:
    """Write so many rows, the newest now, and return how many they are."""
    locks = min(_LOCKS, max(2, rows // 100))
    polls = max(20, rows // (locks + _STATEMENTS + 10))
    site, end_ns = Site(log_dir, 1), time.time_ns()
    begin_ns = end_ns - polls * _INTERVAL_S * 10**9
    site.event("start", {"version": "0", "host": "10.0.0.1", "port": 5000, "cluster": "prod"}, begin_ns)
    for number in range(polls):
        if polls // 2 < number < polls // 2 + polls // 40:  # the monitor was away
            continue
        site.go_on(begin_ns + number * _INTERVAL_S * 10**9, locks)
    since, until = (begin_ns + (polls // 2 + part) * _INTERVAL_S * 10**9 for part in (0, polls // 40))
    for metric in ("show_locks", "show_server_status"):
        site.event("gap", {"target": metric, "since": utc_stamp(since), "until": utc_stamp(until), "reason": "killed"}, end_ns)
    site.event("stop", {"reason": "SIGTERM"}, end_ns)
    return site.rows


def _text(second: int) -> str:
    return f"{_EPOCH + dt.timedelta(seconds=second):%Y-%m-%d %H:%M:%S}"


def measure(log_dir: Path, rows: int, words: Iterable[str]) -> None:
    """Make the report in a process of its own, and print the figures."""
    file = log_dir.parent / "report.html"
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "sqmon", "report", str(log_dir), "-o", str(file), *words], check=True)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    size = sum(path.stat().st_size for path in log_dir.rglob("*.jsonl"))
    sys.stdout.write(
        f"{rows:,} rows, {size / 1e6:,.0f} MB: {seconds:.1f} s ({rows / seconds:,.0f} rows a second),"
        f" at most {peak:.0f} MiB of memory, page of {file.stat().st_size / 1e6:.2f} MB\n"
    )


def main() -> None:
    """Write the files, make the report, print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="directory for files and report, which stay (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        log_dir = (options.keep or Path(temporary)) / "logs"
        measure(log_dir, written(log_dir, options.rows), ())


if __name__ == "__main__":
    main()
