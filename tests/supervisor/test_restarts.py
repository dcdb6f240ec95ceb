"""What a start finds out about the service before it, with the real program."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sqmon.clock import stamp_ns
from sqmon.simulator import Simulator
from tests.support.program import service, wait_until

QUICK = {"show_locks": 0.2, "show_cluster_nodes": 0.2}
ENDS = pytest.mark.parametrize(("number", "reason"), [(signal.SIGTERM, "stopped"), (signal.SIGKILL, "killed")])


def good_polls(events: list[dict[str, Any]], metric: str) -> list[str]:
    """Return the times of the metric's good polls."""
    return [
        event["ts"] for event in events if event["event"] == "poll" and event["target"] == metric and event["status"] in ("ok", "empty")
    ]


def assert_absence(before: list[dict[str, Any]], after: list[dict[str, Any]], reason: str) -> None:
    """Assert that each metric tells once that it was not seen between its last good poll before the end and its first after the start."""
    gaps = {event["target"]: event for event in after if event["event"] == "gap"}

    assert len(gaps) == len([event for event in after if event["event"] == "gap"])
    assert {(metric, reason, good_polls(before, metric)[-1]) for metric in QUICK} == {
        (metric, gap["reason"], gap["since"]) for metric, gap in gaps.items()
    }
    for metric, gap in gaps.items():
        assert 0 <= stamp_ns(gap["until"]) - stamp_ns(good_polls(after, metric)[0]) < 10**9


@ENDS
def test_monitors_own_absence_is_a_gap(simulator: Simulator, tmp_path: Path, number: signal.Signals, reason: str) -> None:
    """After a restart each metric has a gap with its reason; the first start and a new metric have none."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        assert [] == run.events("gap")
        os.kill(run.pid, number)
        run.process.wait()
        before = run.events()

    with service(simulator.port, tmp_path / "logs", metrics={**QUICK, "get_license_info": 0.2}) as run:
        run.wait_for_polls(*QUICK, "get_license_info")

        assert_absence(before, run.events(), reason)


@ENDS
def test_absence_is_told_in_a_single_file_as_well(simulator: Simulator, tmp_path: Path, number: signal.Signals, reason: str) -> None:
    """The absence is found in a single file too, after its rotation and between records."""
    path = tmp_path / "all.jsonl"

    def events() -> list[dict[str, Any]]:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [record for record in map(json.loads, lines) if record["metric"] == "sqmon"]

    with service(simulator.port, tmp_path / "x", "--log_file_path", str(path), metrics=QUICK) as run:
        wait_until(lambda: all(len(good_polls(events(), metric)) > 1 for metric in QUICK))
        os.kill(run.pid, number)
        run.process.wait()
        before = events()
    path.rename(f"{path}.1")

    with service(simulator.port, tmp_path / "x", "--log_file_path", str(path), metrics=QUICK):
        wait_until(lambda: all(len(good_polls(events(), metric)) > 1 for metric in QUICK))

        assert_absence(before, events(), reason)
