"""The collector of the chaos run, which counts what is lost and doubled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support import chaos
from tests.support.collector import Collector


def write(path: Path, *lines: dict[str, Any]) -> None:
    """Append lines to a segment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.writelines(json.dumps(line).encode() + b"\n" for line in lines)


def record(seq: int, metric: str = "show_locks", **more: Any) -> dict[str, Any]:
    """A line, as far as the collector looks at it."""
    return {"seq": seq, "metric": metric, "run_id": "r", **more}


def event(seq: int, name: str, first_seq: int, last_seq: int) -> dict[str, Any]:
    """An event about a range of lines."""
    return record(seq, "sqmon", event=name, target="show_locks", target_run_id="r", first_seq=first_seq, last_seq=last_seq, status="ok")


def test_collector_finds_what_is_lost(tmp_path: Path) -> None:
    """A hole in seq, and lines that a poll promises, count as lost unless a gap names them."""
    write(tmp_path / "show_locks" / "a.jsonl", record(1), record(4))
    write(tmp_path / "sqmon" / "a.jsonl", event(1, "gap", 2, 2), event(2, "poll", 1, 6))
    with Collector(tmp_path) as collector:
        collector.read()

        assert [("show_locks", "r", (3, 3)), ("show_locks", "r", (5, 6))] == collector.unexplained()


def test_collector_finds_what_is_doubled(tmp_path: Path) -> None:
    """A line that is there twice counts as doubled, in one file or in two."""
    write(tmp_path / "show_locks" / "a.jsonl", record(1), record(2))
    write(tmp_path / "show_locks" / "b.jsonl", record(2))
    with Collector(tmp_path) as collector:
        collector.read()

        assert [(("show_locks", "r", 2), 2)] == collector.doubled()


def test_collector_reads_what_was_removed(tmp_path: Path) -> None:
    """Lines that reach a file after it was unlinked count as an agent would have read them."""
    path = tmp_path / "show_locks" / "a.jsonl"
    path.parent.mkdir()
    with path.open("ab", buffering=0) as file, Collector(tmp_path) as collector:
        collector.read()
        path.unlink()
        file.write(json.dumps(record(1)).encode() + b"\n")
        collector.read()

        assert {("show_locks", "r", 1): 1} == collector.seen


def test_chaos() -> None:
    """For a minute everything breaks at random: nothing is lost or doubled without a word, and the service is well afterwards."""
    assert chaos.run(seed=1, seconds=60).holds
