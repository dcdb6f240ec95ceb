"""How fast a directory is read: filtering of plain segments and of archives, and any instant of it.

Usage: python -m benchmarks.read [--json] [--mib N] [--directory DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

from sqmon.cli.logs_filter import Filter, condition
from sqmon.cli.logs_lines import Stream, Wanted, forward
from sqmon.clock import utc_stamp
from sqmon.storage.compression import Source, compress
from sqmon.storage.file_sources import DirectorySource
from sqmon.storage.findings import Findings
from sqmon.storage.knowledge import Knowledge
from sqmon.storage.polls import Polls
from sqmon.storage.recount import recounted
from sqmon.storage.seek import ALWAYS
from sqmon.storage.segment_names import SegmentName, stored

METRIC = "show_locks"
SEGMENT_MIB = 64
ROWS = 200  # of a poll
NOON_NS = 1_795_521_600 * 10**9
INSTANTS = 50


def write(log_dir: Path, mib: int) -> int:
    """Write segments of locks, and the events of their polls; return when the last poll began."""
    chance = random.Random(1)
    at_ns, seq, poll, number, events = NOON_NS, 0, 0, 0, 0
    for stream in (METRIC, "sqmon"):
        (log_dir / stream).mkdir(parents=True)
    with (log_dir / "sqmon" / SegmentName(1, at_ns // 1000).text("sqmon")).open("wb") as told:
        while number * SEGMENT_MIB < mib:
            number += 1
            path = log_dir / METRIC / SegmentName(number, at_ns // 1000).text(METRIC)
            with path.open("wb") as file:
                while file.tell() < min(SEGMENT_MIB, mib - (number - 1) * SEGMENT_MIB) << 20:
                    poll, events, at_ns = poll + 1, events + 1, at_ns + 2 * 10**9
                    first = seq + 1
                    lines = []
                    for row in range(ROWS):
                        seq += 1
                        lines.append(_line(utc_stamp(at_ns + row), seq, poll, row, chance))
                    file.write("".join(lines).encode())
                    told.write(
                        f'{{"ts":"{utc_stamp(at_ns + 10**8)}","seq":{events},"metric":"sqmon","run_id":"s","level":"info","event":"poll",'
                        f'"target":"{METRIC}","target_run_id":"r","status":"ok","poll":{poll},"began":"{utc_stamp(at_ns)}","rows":{ROWS},'
                        f'"duration_ms":100.0,"late_ms":0.0,"first_seq":{first},"last_seq":{seq},"error":null}}\n'.encode()
                    )
            os.utime(path, ns=(at_ns, at_ns))
    return at_ns


def _line(ts: str, seq: int, poll: int, row: int, chance: random.Random) -> str:
    return (
        f'{{"ts":"{ts}","seq":{seq},"metric":"{METRIC}","run_id":"r","poll":{poll},"poll_rows":{ROWS},'
        f'"statement_id":"{chance.randrange(10**6)}","statement_string":"insert into t select * from u where id < {row};",'
        f'"username":"etl","server":"10.0.0.1","port":5000,"locked_object":"table$master$public$t{row}$Insert",'
        f'"lock_mode":"Inclusive","lock_age_s":{chance.randrange(10**4)},"statement_hash":"00000000000000ff"}}\n'
    )


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds of the best of three."""
    found = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def filtered(log_dir: Path, grep: str, *conditions: str) -> int:
    """Return how many lines pass."""
    wanted = Wanted(ALWAYS, Filter(grep, [condition(each) for each in conditions]), Findings())
    return sum(1 for _ in forward([Stream("", DirectorySource(log_dir), METRIC)], wanted))


def instant(log_dir: Path, moments: list[int]) -> float:
    """Return the milliseconds that the slowest of these moments takes, each with a reader of its own."""
    worst = 0.0
    for moment in moments:
        began = time.perf_counter()
        polls = Polls(DirectorySource(log_dir), METRIC)
        poll = polls.at(moment)
        polls.close()
        worst = max(worst, time.perf_counter() - began)
        assert poll is not None, moment
        assert not poll.problem, poll.problem
    return worst * 1000


def steps(log_dir: Path, last_ns: int) -> float:
    """Return how many polls a second can be stepped through."""
    polls = Polls(DirectorySource(log_dir), METRIC)
    poll = polls.at((NOON_NS + last_ns) // 2)
    began = time.perf_counter()
    for _ in range(100):
        poll = polls.before(poll) if poll else None
    taken = time.perf_counter() - began
    polls.close()
    return 100 / taken


def measured(log_dir: Path, mib: int) -> dict[str, float]:
    """Return every figure."""
    last_ns = write(log_dir, mib)
    chance = random.Random(2)
    moments = [chance.randrange(NOON_NS + 10**10, last_ns) for _ in range(INSTANTS)]

    def rate(grep: str, *conditions: str) -> float:
        return mib / timed(lambda: filtered(log_dir, grep, *conditions))

    figures = {
        "grep for a text, MiB/s": rate("where id < 17;"),
        "grep for an expression, MiB/s": rate("where id < 1[0-9];"),
        "grep that finds nothing, MiB/s": rate("nothing of that kind"),
        "where statement_id=4711, MiB/s": rate("", "statement_id=4711"),
        "where lock_age_s>9998, MiB/s": rate("", "lock_age_s>9998"),
        "where username!=etl, MiB/s": rate("", "username!=etl"),
        "any instant, plain, ms": instant(log_dir, moments),
        "steps, plain, polls/s": steps(log_dir, last_ns),
    }
    words = [sys.executable, "-m", "sqmon", "logs", METRIC, "--log_dir", str(log_dir), "--grep", "nothing of that kind"]
    figures["sqmon logs --grep as a process, MiB/s"] = mib / timed(lambda: subprocess.run(words, check=False))
    for name in stored(log_dir, METRIC):
        seal = recounted(log_dir, f"{METRIC}/{name}")
        compress(log_dir, Source(seal.file, seal.bytes, seal.sha256, Knowledge.READ, 0, None), lambda: None)
    figures["grep for a text, archives, MiB/s of text"] = rate("where id < 17;")
    figures["any instant, archives, ms"] = instant(log_dir, moments[:10])
    figures["steps, archives, polls/s"] = steps(log_dir, last_ns)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--mib", type=int, default=256, help="MiB of records (default: %(default)s)")
    parser.add_argument("--directory", type=Path, help="where to write them (default: a temporary directory)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.directory) as place:
        figures = measured(Path(place), args.mib)
    if args.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{name:45} {figure:10,.1f}")


if __name__ == "__main__":
    main()
