"""Several processes into one rotating file: what is lost, and how fast, beside concurrent-log-handler.

Usage: python -m benchmarks.single_file [--json] [--lines N] [--processes N] [--directory DIR]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from benchmarks.emit import COLUMNS, JsonFormatter, polls_of, records_of
from sqmon.clock import SystemClock
from sqmon.records.encoder import Encoder
from sqmon.storage.single_file import SingleFileWriter

POLL_ROWS = 200
BACKUPS = 100  # as many as it takes: a file that is deleted by rotation isn't lost by it


class Outcome(NamedTuple):
    """What became of the lines."""

    lines: int
    lost: int
    doubled: int
    torn: int
    files: int
    seconds: float


def write_sqmon(number: int, lines: int, path: Path, max_bytes: int, start: Any) -> None:
    """One worker process: polls of 200 rows."""
    polls = polls_of(lines, POLL_ROWS)
    clock = SystemClock()
    dropped: list[Any] = []
    writer = SingleFileWriter(path, clock=clock, on_dropped=dropped.append, max_bytes=max_bytes, backups=BACKUPS)
    encoder = Encoder(f"metric_{number}", "r")
    start.wait()
    for poll, rows in enumerate(polls, start=1):
        for batch in encoder.rows(COLUMNS, rows, poll=poll, started_ns=clock.time_ns()):
            writer.append(batch)
        writer.tick()
    while writer.pending:
        writer.tick()
    writer.close()


def write_concurrent_log_handler(number: int, lines: int, path: Path, max_bytes: int, start: Any) -> None:
    """The same lines through the handler that is made for this."""
    from concurrent_log_handler import ConcurrentRotatingFileHandler  # noqa: PLC0415

    polls = polls_of(lines, POLL_ROWS)
    handler = ConcurrentRotatingFileHandler(str(path), maxBytes=max_bytes, backupCount=BACKUPS)
    handler.setFormatter(JsonFormatter())
    log = logging.getLogger("benchmark")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    start.wait()
    for record in records_of(polls):
        record["metric"] = f"metric_{number}"
        log.info(record)
    handler.close()


def place_of(line: bytes) -> Optional[tuple[int, int]]:
    """The writer's number and the seq of a line, None when it isn't whole."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return int(record["metric"].rpartition("_")[2]), record["seq"]


def outcome(write: Callable[..., None], processes: int, lines: int, max_bytes: int, directory: Path) -> Outcome:
    """Run the writers at the same time, then read all files."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(processes + 1)
    path = directory / "all.jsonl"
    each = lines // processes
    running = [context.Process(target=write, args=(number, each, path, max_bytes, start)) for number in range(processes)]
    for process in running:
        process.start()
    start.wait()
    started = time.perf_counter()
    for process in running:
        process.join()
    seconds = time.perf_counter() - started
    files = [file for file in directory.iterdir() if file.name.startswith("all.jsonl") and "lock" not in file.name]
    counts = [bytearray(each + 1) for _ in range(processes)]
    torn = 0
    for file in files:
        with file.open("rb") as opened:
            for line in opened:
                seen = place_of(line)
                if seen is None:
                    torn += 1
                else:
                    counts[seen[0]][seen[1]] += 1
    lost = sum(count.count(0) - 1 for count in counts)
    doubled = sum(each + 1 - count.count(0) - count.count(1) for count in counts)
    return Outcome(each * processes, lost, doubled, torn, len(files), seconds)


def main() -> int:
    """Print both outcomes and their ratio; exit code 1 when sqmon lost, doubled or tore a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of all processes together (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--directory", type=Path, default=None, help="where the files go (default: a temporary directory)")
    options = parser.parse_args()
    contenders: dict[str, tuple[Callable[..., None], int, int]] = {"sqmon": (write_sqmon, options.lines, 64 << 20)}
    absent = importlib.util.find_spec("concurrent_log_handler") is None
    if not absent:
        # A 25th of the lines and of the size: as many rotations, in bearable time.
        contenders["concurrent_log_handler"] = (write_concurrent_log_handler, options.lines // 25, (64 << 20) // 25)
    outcomes: dict[str, Outcome] = {}
    for name, (write, lines, max_bytes) in contenders.items():
        with tempfile.TemporaryDirectory(dir=options.directory) as place:
            outcomes[name] = outcome(write, options.processes, lines, max_bytes, Path(place))
    rates = {name: each.lines / each.seconds for name, each in outcomes.items()}
    if options.json:
        figures = {name: {**each._asdict(), "rows_per_s": round(rates[name])} for name, each in outcomes.items()}
        print(json.dumps({**figures, "absent": ["concurrent_log_handler"] if absent else []}))
    else:
        for name, each in outcomes.items():
            print(
                f"{name:24} {rates[name]:12,.0f} rows/s   {each.lines:,} lines of {options.processes} processes in "
                f"{each.files} files: lost {each.lost}, doubled {each.doubled}, torn {each.torn}"
            )
        if absent:
            print("concurrent_log_handler   absent: not installed")
        else:
            print(f"sqmon is {rates['sqmon'] / rates['concurrent_log_handler']:.1f} times as fast")
    return 1 if outcomes["sqmon"].lost or outcomes["sqmon"].doubled or outcomes["sqmon"].torn else 0


if __name__ == "__main__":
    sys.exit(main())
