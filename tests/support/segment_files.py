"""Segments for tests: a stream that writes them, readers of whole directories, and a disk of two megabytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from sqmon.clock import ClockStep
from sqmon.config.settings import SegmentOptions
from sqmon.records.encoder import Encoder
from sqmon.storage import reader
from sqmon.storage.recount import recounted
from sqmon.storage.segment import newest_ns
from sqmon.storage.segment_writer import SegmentWriter
from sqmon.storage.writer import Dropped, Sealed
from tests.support.clocks import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqmon.records.encoder import Batch

METADATA = ("ts", "seq", "metric", "run_id", "poll", "poll_rows")
"""The keys with which every record begins."""

COLUMNS = ("statement_id", "statement_string", "username")


class Stream:
    """One run of one metric: an encoder, a writer, and everything that the writer has reported."""

    def __init__(self, log_dir: Path, options: SegmentOptions, *, metric: str = "show_locks", clock: FakeClock | None = None) -> None:
        self.log_dir = log_dir
        self.clock = clock or FakeClock()
        self.sealed: list[Sealed] = []
        self.dropped: list[Dropped] = []
        self.run_id = f"run-{os.urandom(4).hex()}"
        self.steps: list[ClockStep] = []
        self.encoder = Encoder(metric, self.run_id, last_ns=newest_ns(log_dir, metric), on_step=self.steps.append)
        self.writer = SegmentWriter(
            log_dir, metric, options, clock=self.clock, on_sealed=self.sealed.append, on_dropped=self.dropped.append
        )
        self.polls = 0

    def poll(self, rows: int, text: str = "select 1") -> list[Batch]:
        """Write `rows` records."""
        self.polls += 1
        values = [(number, text, "sqream") for number in range(rows)]
        batches = list(self.encoder.rows(COLUMNS, values, poll=self.polls, started_ns=self.clock.time_ns()))
        for batch in batches:
            self.writer.append(batch)
        return batches

    def dropped_seqs(self) -> list[int]:
        """Every seq that was reported as dropped, in the order of the reports."""
        return [seq for gap in self.dropped for seq in range(gap.first_seq, gap.last_seq + 1)]

    def written_seqs(self) -> list[int]:
        """Every seq of this run in the files, in the order of the files."""
        return [record["seq"] for record in records(self.log_dir) if record["run_id"] == self.run_id]


def segments(log_dir: Path) -> list[Path]:
    """The files that an agent would tail, those of each metric in the order in which they were written."""
    return [path for directory in sorted(log_dir.glob("*/")) for path in reader.segments(log_dir, directory.name, archived=False)]


def records(log_dir: Path) -> list[dict[str, Any]]:
    """All records of all segments; a torn last line is skipped, a torn line elsewhere is an error."""
    found: list[dict[str, Any]] = []
    for path in segments(log_dir):
        found += map(json.loads, path.read_bytes().split(b"\n")[:-1])
    return found


def assert_as_sealed(log_dir: Path, sealed: list[Sealed]) -> None:
    """Every sealed file has the lines, bytes, seq and checksum that were reported, and its `ts` increases strictly."""
    for seal in sealed:
        data = (log_dir / seal.file).read_bytes()
        lines = [json.loads(line) for line in data.split(b"\n")[:-1]]
        seqs, stamps = [line["seq"] for line in lines], [line["ts"] for line in lines]
        assert stamps == sorted(set(stamps))
        torn = len(data) - data.rfind(b"\n") - 1
        sha256 = hashlib.sha256(data).hexdigest()
        assert Sealed(seal.file, len(seqs), len(data), min(seqs, default=0), max(seqs, default=0), sha256, torn) == seal
        assert recounted(log_dir, seal.file) == seal


@contextlib.contextmanager
def small_disk(path: Path, size: str = "2m", options: str = "") -> Iterator[Path]:
    """A tmpfs of that size at `path`; the test is skipped where mounting is not permitted."""
    path.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "none", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> Path:
    """Use up all space of the disk that `path` is on; returns the file to remove."""
    filler = path / "filler"
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        for block in (1 << 16, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * block):
                    pass
    return filler
