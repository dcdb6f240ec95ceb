"""The stream of lifetimes: wherever it was cut off, it goes on as if nothing had happened."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from sqmon.clock import stamp_ns
from sqmon.lifetimes.following import Following
from sqmon.lifetimes.lines import METRIC, STATE, Line
from sqmon.lifetimes.packed_state import unpack
from sqmon.lifetimes.stream_end import StreamEnd, stream_end
from sqmon.records.encoder import Encoder
from sqmon.storage.reader import StreamReader
from tests.lifetimes.files import RUNS, Files

METADATA = ("ts", "seq", "metric", "run_id")


class Written:
    """The stream of lifetimes of a directory, written by one run after the other."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.runs = 0

    def go_on(self, *, most: int = 1 << 30) -> None:
        """Let a new run write what it finds, at most so many lines, the last of them cut in the middle."""
        self.runs += 1
        (self.log_dir / METRIC).mkdir(exist_ok=True)
        encoder = Encoder(METRIC, f"run-{self.runs}")
        path = self.log_dir / METRIC / f"{METRIC}-20261124T120000.000000Z-{self.runs:06d}.jsonl"
        with path.open("wb") as file:
            for lines in Following(self.log_dir, stream_end(self.log_dir)).read():
                for line in lines:
                    fields = {name: value for name, value in line.items() if name not in METADATA}
                    data = encoder.timed(stamp_ns(line["ts"]), fields).data
                    if encoder.seq == most:
                        file.write(data[: len(data) // 2])
                        return
                    file.write(data)

    def lines(self) -> list[Line]:
        """Everything that was written, but for what differs from run to run."""
        return [
            {name: value for name, value in line.items() if name not in ("seq", "run_id")}
            for line in StreamReader(self.log_dir, METRIC).read()
        ]


def site(log_dir: Path, *, emit: str, seed: int = 1) -> None:
    """Half an hour of polls of locks that come and go, some of them failed, one run killed after a poll that nobody tells of."""
    files, rng, at = Files(log_dir), random.Random(seed), 0.0
    ids: set[int] = set()
    for run_id in RUNS:
        for poll in range(1, 60):
            at += 15.0
            ids ^= {rng.randrange(20) for _ in range(3)}
            if rng.random() < 0.1:
                files.event(run_id, poll, at, "error", error="gone")
            elif emit == "rows":
                files.poll(run_id, poll, at, *sorted(ids))
            else:
                files.changes(run_id, poll, at, *sorted(ids))
            if rng.random() < 0.1:
                files.number += 1
        if emit == "rows":
            files.rows(run_id, 61, at + 15.0, *sorted(ids))


@pytest.mark.parametrize("emit", ["rows", "changes"])
def test_runs_that_are_killed_write_what_one_run_would(tmp_path: Path, emit: str) -> None:
    """However many runs it takes and wherever each is cut off, the lines are those of a single run, byte for byte but for run and seq."""
    site(tmp_path / "whole", emit=emit)
    site(tmp_path / "cut", emit=emit)
    whole, cut, rng = Written(tmp_path / "whole"), Written(tmp_path / "cut"), random.Random(emit)
    whole.go_on()
    while len(cut.lines()) < len(whole.lines()):
        cut.go_on(most=rng.randrange(1, 40))
    cut.go_on()

    assert json.dumps(whole.lines()) == json.dumps(cut.lines())
    assert cut.runs > 20
    assert len([line for line in whole.lines() if line["event"] == STATE]) > 2


def test_what_was_read_up_to_the_state_is_not_needed_again(tmp_path: Path) -> None:
    """After a kill only what came after the newest state is read: what was deleted before it makes no difference."""
    for name in ("whole", "cut"):
        site(tmp_path / name, emit="rows")
    whole, cut = Written(tmp_path / "whole"), Written(tmp_path / "cut")
    whole.go_on()
    cut.go_on(most=len(whole.lines()) - 3)
    end = stream_end(cut.log_dir)
    assert end.state is not None
    assert end.state.directory.events is not None
    for stream in ("show_locks", "sqmon"):
        place = end.state.directory.events if stream == "sqmon" else end.state.directory.metrics[stream].place
        assert place is not None
        older = [path for path in (cut.log_dir / stream).iterdir() if path.name[-12:] < place.segment[-12:]]
        assert older
        for path in older:
            path.unlink()
    cut.go_on()

    assert json.dumps(whole.lines()) == json.dumps(cut.lines())


def test_lines_whose_polls_are_gone_hold_nothing_up(tmp_path: Path) -> None:
    """Where the files are gone that tell of the newest lines, what comes afterwards is told."""
    files = Files(tmp_path)
    files.poll(RUNS[0], 1, 0.0, 7)
    written = Written(tmp_path)
    written.go_on()
    files.number = 2
    files.poll(RUNS[0], 2, 2.0, 7, 8)
    written.go_on()
    for stream in ("show_locks", "sqmon"):
        max((tmp_path / stream).iterdir()).unlink()
    written.go_on()
    files.number = 3
    files.poll(RUNS[0], 3, 900.0, 7, 8, 9)
    following = Following(tmp_path, stream_end(tmp_path))

    assert [] == [line for lines in following.read() for line in lines if line["event"] == "lock_released"]
    files.poll(RUNS[0], 4, 902.0, 7)
    assert {"8", "9"} == {line["statement_id"] for lines in following.read() for line in lines if line["event"] == "lock_released"}


@pytest.mark.parametrize("damage", ["{}", '{"ts":"x","event":"state"}', "[1]", "nonsense"])
def test_lines_of_somebody_else_are_passed_over(tmp_path: Path, damage: str) -> None:
    """A line that is not one of lifetimes changes nothing."""
    Files(tmp_path).poll(RUNS[0], 1, 0.0, 7)
    written = Written(tmp_path)
    written.go_on()
    before = stream_end(tmp_path)
    path = tmp_path / METRIC / f"{METRIC}-20261124T120000.000000Z-000009.jsonl"
    path.write_text(damage + "\n", "utf-8")

    assert before == stream_end(tmp_path)
    assert before.state is not None


def test_state_that_is_not_understood_is_none() -> None:
    """Text that is broken, empty or of another version is no state, so everything is read again."""
    parts: Any
    for parts in ([], [""], ["%%%"], ["eJyrrgUAAXUA-Q=="], ["e30="]):
        assert unpack(parts) is None
    assert (None, None) == StreamEnd()[:2]
