"""A worker that polls as fast as it can until it is killed, and prints after each poll what is settled.

Usage: python -m tests.support.crashing_worker segments|file PATH RUN_ID SEED
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from sqmon.clock import SystemClock
from sqmon.config.settings import SegmentOptions
from sqmon.records.encoder import Encoder
from sqmon.storage.segment_writer import SegmentWriter
from sqmon.storage.single_file import SingleFileWriter
from sqmon.storage.writer import LineWriter


def ignore(report: object) -> None:
    """Do nothing with a report."""


def main(kind: str, path: Path, run_id: str, seed: int) -> None:
    """Write for ever; after each poll, print the last settled seq on a line of its own."""
    rng = random.Random(seed)
    clock = SystemClock()
    writer: LineWriter
    if kind == "segments":
        options = SegmentOptions(max_bytes=rng.choice([2_000, 100_000, 1 << 26]), fsync=rng.choice(["interval", "never"]))
        writer = SegmentWriter(path, "show_locks", options, clock=clock, on_sealed=ignore, on_dropped=ignore)
    else:
        writer = SingleFileWriter(path, clock=clock, on_dropped=ignore, max_bytes=1_000_000, backups=10_000)
    encoder = Encoder("show_locks", run_id)
    poll = 0
    while True:
        poll += 1
        text = "x" * rng.choice([1, 100, 4_000])
        rows = [(number, text) for number in range(rng.choice([1, 3, 30, 300]))]
        for batch in encoder.rows(("statement id", "statement string"), rows, poll=poll, started_ns=clock.time_ns()):
            writer.append(batch)
        writer.tick()
        os.write(1, b"%d\n" % writer.settled_seq)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
