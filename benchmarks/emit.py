"""Rows a second from row tuples to lines in a file: sqmon against its floor and against what people use instead.

Usage: python -m benchmarks.emit [--json] [--rows N] [--rounds N] [--directory DIR] [--only NAME,NAME]
"""

from __future__ import annotations

import argparse
import datetime as dt
import http.server
import importlib.util
import json
import logging
import logging.handlers
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import msgspec

from sqmon.clock import SystemClock
from sqmon.config.settings import SegmentOptions
from sqmon.records.encoder import Encoder
from sqmon.storage.segment_writer import SegmentWriter

COLUMNS = (
    "statement id",
    "statement string",
    "username",
    "server",
    "port",
    "locked object",
    "lock mode",
    "statement start time",
    "lock start time",
    "is statement active",
    "is snapshot active",
)
POLL_ROWS = 1000

Row = tuple[Any, ...]
Contender = Callable[[list[list[Row]], Path], float]


def polls_of(count: int, poll_rows: int = POLL_ROWS) -> list[list[Row]]:
    """Return `count` rows as show_locks returns them, in polls; no two rows share their strings."""

    def row(number: int) -> Row:
        return (
            number,
            f"create or replace table t_{number} (x int, y varchar({number % 250}));",
            "sqream",
            f"192.168.0.{number % 250}",
            5000 + number % 8,
            f"database$t_{number}$schema",
            "exclusive",
            "2026-11-24 15:30:50",
            "2026-11-24 15:30:51",
            "1",
            "0",
        )

    rows = [row(number) for number in range(count)]
    return [rows[start : start + poll_rows] for start in range(0, count, poll_rows)]


def records_of(polls: list[list[Row]]) -> Iterator[dict[str, Any]]:
    """Make the same records as dicts, which is what loggers take."""
    names = [name.replace(" ", "_") for name in COLUMNS]
    seq = 0
    for number, poll in enumerate(polls, start=1):
        for row in poll:
            seq += 1
            yield {
                "ts": dt.datetime.now(dt.timezone.utc).isoformat(),
                "seq": seq,
                "metric": "show_locks",
                "run_id": "20261124T153000Z-3f9a",
                "poll": number,
                "poll_rows": len(poll),
                **dict(zip(names, row)),
            }


def floor(polls: list[list[Row]], directory: Path) -> float:
    """Encode dicts that are ready and write them: no faster way in Python is known."""
    records = list(records_of(polls))
    chunks = [records[start : start + POLL_ROWS] for start in range(0, len(records), POLL_ROWS)]
    encoder = msgspec.json.Encoder()
    descriptor = os.open(directory / "floor.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    started = time.perf_counter()
    for chunk in chunks:
        os.write(descriptor, encoder.encode_lines(chunk))
    elapsed = time.perf_counter() - started
    os.close(descriptor)
    return elapsed


def sqmon(polls: list[list[Row]], directory: Path) -> float:
    """The whole way of a worker: types, keys, stamps, caps, segments, checksum."""
    encoder = Encoder("show_locks", "20261124T153000Z-3f9a")
    clock = SystemClock()
    reports: list[Any] = []
    writer = SegmentWriter(
        directory, "show_locks", SegmentOptions(fsync="never"), clock=clock, on_sealed=reports.append, on_dropped=reports.append
    )
    started = time.perf_counter()
    for number, poll in enumerate(polls, start=1):
        for batch in encoder.rows(COLUMNS, poll, poll=number, started_ns=clock.time_ns()):
            writer.append(batch)
        writer.tick()
    elapsed = time.perf_counter() - started
    writer.close()
    assert sum(report.lines for report in reports) == encoder.seq
    return elapsed


def structlog(polls: list[list[Row]], directory: Path) -> float:
    """The fastest set-up that structlog's documentation gives: BytesLogger and orjson."""
    import orjson  # noqa: PLC0415
    import structlog as library  # noqa: PLC0415

    with (directory / "structlog.jsonl").open("wb") as file:
        log = library.wrap_logger(
            library.BytesLogger(file),
            processors=[library.processors.JSONRenderer(orjson.dumps)],
            wrapper_class=library.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=True,
        )
        started = time.perf_counter()
        for record in records_of(polls):
            log.info("row", **record)
        return time.perf_counter() - started


def through(handler: logging.Handler, polls: list[list[Row]]) -> float:
    """Time the standard library's logging with that handler."""
    log = logging.getLogger(f"benchmark.{type(handler).__module__}")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    started = time.perf_counter()
    for record in records_of(polls):
        log.info(record)
    elapsed = time.perf_counter() - started
    log.removeHandler(handler)
    handler.close()
    return elapsed


class JsonFormatter(logging.Formatter):
    """What most people write."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        return json.dumps(record.msg)


def stdlib(polls: list[list[Row]], directory: Path) -> float:
    """Measure RotatingFileHandler and json."""
    handler = logging.handlers.RotatingFileHandler(directory / "stdlib.jsonl", maxBytes=64 << 20, backupCount=7)
    handler.setFormatter(JsonFormatter())
    return through(handler, polls)


def python_json_logger(polls: list[list[Row]], directory: Path) -> float:
    """Measure RotatingFileHandler and python-json-logger."""
    from pythonjsonlogger.json import JsonFormatter as Formatter  # noqa: PLC0415

    handler = logging.handlers.RotatingFileHandler(directory / "pjl.jsonl", maxBytes=64 << 20, backupCount=7)
    handler.setFormatter(Formatter())
    return through(handler, polls)


def concurrent_log_handler(polls: list[list[Row]], directory: Path) -> float:
    """Measure ConcurrentRotatingFileHandler and json."""
    from concurrent_log_handler import ConcurrentRotatingFileHandler  # noqa: PLC0415

    handler = ConcurrentRotatingFileHandler(str(directory / "clh.jsonl"), maxBytes=64 << 20, backupCount=7)
    handler.setFormatter(JsonFormatter())
    return through(handler, polls)


def loguru(polls: list[list[Row]], directory: Path) -> float:
    """Measure loguru with rotation, a JSON message."""
    from loguru import logger  # noqa: PLC0415

    logger.remove()
    sink = logger.add(directory / "loguru.jsonl", format="{message}", rotation="64 MB", retention=7)
    started = time.perf_counter()
    for record in records_of(polls):
        logger.info(json.dumps(record).replace("{", "{{").replace("}", "}}"))
    elapsed = time.perf_counter() - started
    logger.remove(sink)
    return elapsed


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes every push, as Loki does, and does nothing with it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer 204."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def serve(port: Any) -> None:
    """Run the sink in a process of its own."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    port.send(server.server_port)
    server.serve_forever()


def http_post(polls: list[list[Row]], directory: Path) -> float:  # noqa: ARG001
    """One POST a row with requests, as the original monitor service did, to a local sink."""
    import requests  # noqa: PLC0415

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(theirs,))
    process.start()
    url = f"http://127.0.0.1:{ours.recv()}/loki/api/v1/push"
    started = time.perf_counter()
    for record in records_of(polls):
        values = [[str(time.time_ns()), json.dumps(record)]]
        requests.post(url, json={"streams": [{"stream": {"metric": "show_locks"}, "values": values}]}, timeout=10)
    elapsed = time.perf_counter() - started
    process.terminate()
    process.join()
    return elapsed


# Name, what it needs, its share of the rows: the slow ones would take minutes.
CONTENDERS: dict[str, tuple[Contender, tuple[str, ...], float]] = {
    "sqmon": (sqmon, (), 1),
    "floor": (floor, (), 1),
    "structlog": (structlog, ("structlog", "orjson"), 0.2),
    "stdlib": (stdlib, (), 0.1),
    "python_json_logger": (python_json_logger, ("pythonjsonlogger",), 0.1),
    "loguru": (loguru, ("loguru",), 0.05),
    "concurrent_log_handler": (concurrent_log_handler, ("concurrent_log_handler",), 0.1),
    "http_post": (http_post, ("requests",), 0.002),
}


def measured(name: str, rows: int, directory: Path) -> float:
    """Rows a second of one contender, in a fresh directory."""
    contender, _, share = CONTENDERS[name]
    count = max(100, int(rows * share))
    place = Path(tempfile.mkdtemp(dir=directory))
    try:
        return count / contender(polls_of(count), place)
    finally:
        shutil.rmtree(place)


def memory_of_large_poll(directory: Path) -> float:
    """Peak MiB above what the rows themselves take, while a poll of 100,000 is encoded and written."""

    def child(pipe: Any) -> None:
        polls = polls_of(100_000, 100_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sqmon(polls, place)
        pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)

    place = Path(tempfile.mkdtemp(dir=directory))
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,))
    process.start()
    process.join()
    shutil.rmtree(place)
    return float(ours.recv())


def main() -> int:
    """Measure all contenders in turns, so that a busy moment of the host hits them alike; print the best of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the fast contenders (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="the best of so many counts (default: %(default)s)")
    parser.add_argument("--directory", type=Path, default=None, help="where the files go (default: a temporary directory)")
    parser.add_argument("--only", default="", help="names of contenders, separated by commas")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(CONTENDERS)
    absent = [name for name in chosen if not all(map(importlib.util.find_spec, CONTENDERS[name][1]))]
    best = dict.fromkeys((name for name in chosen if name not in absent), 0.0)
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        memory = memory_of_large_poll(Path(place))
        for turn in range(options.rounds):
            for name in best:
                if turn < 2 or CONTENDERS[name][2] == 1:
                    best[name] = max(best[name], measured(name, options.rows, Path(place)))
    if options.json:
        figures = {"rows_per_s": {name: round(rate) for name, rate in best.items()}, "absent": absent}
        print(json.dumps({**figures, "large_poll_peak_mib": round(memory, 1)}))
        return 0
    for name, rate in best.items():
        ratio = f"sqmon is {best['sqmon'] / rate:8.2f} times as fast" if "sqmon" in best else ""
        print(f"{name:24} {rate:12,.0f} rows/s   {ratio}")
    for name in absent:
        print(f"{name:24} absent: not installed")
    print(f"memory above the rows of a poll of 100,000: {memory:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
