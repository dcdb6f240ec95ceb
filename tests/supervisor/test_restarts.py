"""What a start finds out about the service before it, with the real program."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sqmon.clock import stamp_ns
from sqmon.delivery.verify import verify
from sqmon.simulator import Simulator
from sqmon.storage.reader import StreamReader
from sqmon.storage.recount import recounted
from sqmon.storage.seal import breaks
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


def seals_of(log_dir: Path) -> list[dict[str, Any]]:
    """Return every seal that the `sqmon` stream tells of."""
    return [event for event in StreamReader(log_dir, "sqmon").read() if event["event"] == "segment_sealed"]


def assert_all_sealed(log_dir: Path, *, but: set[Path]) -> None:
    """Every file but these has one seal that is right, coreutils can check it, and no chain is broken."""
    seals = seals_of(log_dir)
    files = {str(path.relative_to(log_dir)) for path in set(log_dir.glob("*/*.jsonl")) - but}
    sums = "".join(f"{seal['sha256']}  {seal['file']}\n" for seal in seals)
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "--strict"], cwd=log_dir, input=sums.encode(), capture_output=True, check=False)

    assert (files, len(files)) == ({seal["file"] for seal in seals}, len(seals))
    assert (b"", 0) == (checked.stdout, checked.returncode), checked.stderr
    assert [] == list(breaks(seals))
    assert {seal["file"].split("/")[0] for seal in seals if seal["prev"] is None} == {file.split("/")[0] for file in files}
    for seal in seals:
        recount = recounted(log_dir, seal["file"])._asdict()
        assert recount == {key: seal[key] for key in recount}


def test_every_segment_has_a_seal_however_services_ended(simulator: Simulator, tmp_path: Path) -> None:
    """After kills at random moments, even in the middle of sealing, the next start seals what has no seal."""
    log_dir, dice = tmp_path / "logs", random.Random(16)
    options = ("--segment_mb", "0.01")
    for cycle in range(6):
        with service(simulator.port, log_dir, *options, metrics=QUICK) as run:
            run.wait_for_polls("show_locks", count=1)
            time.sleep(dice.random())
            if cycle % 2:
                os.kill(run.worker("show_locks"), signal.SIGKILL)
                time.sleep(dice.random())
            (os.killpg if cycle % 3 else os.kill)(run.pid, signal.SIGTERM if cycle == 3 else signal.SIGKILL)
            run.process.wait()
    torn = max((log_dir / "show_locks").iterdir())
    with torn.open("ab") as file:
        file.write(b'{"ts":"2026')
    earlier = set(log_dir.glob("*/*.jsonl"))

    with service(simulator.port, log_dir, *options, metrics=QUICK) as run:
        wait_until(lambda: {str(path.relative_to(log_dir)) for path in earlier} <= {seal["file"] for seal in seals_of(log_dir)})
        assert 0 == run.end()
        (sealed,) = (seal for seal in seals_of(log_dir) if torn.name in seal["file"])

    assert len(b'{"ts":"2026') == sealed["torn_bytes"]
    assert_all_sealed(log_dir, but={max((log_dir / "sqmon").iterdir())})
    assert [] == verify(log_dir).problems


def test_worker_that_was_killed_has_its_segment_sealed_while_the_service_runs(simulator: Simulator, tmp_path: Path) -> None:
    """The segment of a killed worker is sealed while the service runs, and those of the next worker are left alone."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        (left,) = run.segments("show_locks")
        killed = run.latest()
        os.kill(run.worker("show_locks"), signal.SIGKILL)
        run.wait_for_polls("show_locks", after=killed)

        sealed = run.wait_for("segment_sealed", file=f"show_locks/{left.name}")

        assert recounted(run.log_dir, sealed["file"]).sha256 == sealed["sha256"]
        assert [sealed] == run.events("segment_sealed")
        assert 0 == run.end()
    assert_all_sealed(run.log_dir, but=set(run.segments("sqmon")))
