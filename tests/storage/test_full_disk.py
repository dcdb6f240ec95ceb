"""A full disk, or a directory that is gone, under the running service."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from sqmon.health import status_file
from sqmon.simulator import Simulator
from tests.support.program import QUICK, Service, service, wait_until
from tests.support.segment_files import fill, small_disk

_FREE_AT_ONCE_SECONDS = 3.0


def test_full_disk_costs_nothing_while_memory_suffices(simulator: Simulator, tmp_path: Path) -> None:
    """Polling continues on a full disk, the status says why, and soon after there is room every line is in the files, once and in order."""
    with small_disk(tmp_path / "disk") as disk, service(simulator.port, disk / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        filler = fill(disk)
        wait_until(lambda: all(metric.pending_bytes for metric in run.status().metrics))
        told = run.status()
        polls = {metric.name: metric.polls for metric in told.metrics}
        assert not any(metric.healthy for metric in told.metrics)
        assert all("no space left on device" in metric.error for metric in told.metrics)
        assert run.process.poll() is None

        filler.unlink()

        freed = time.monotonic()
        wait_until(lambda: all(not metric.pending_bytes for metric in run.status().metrics))
        assert time.monotonic() - freed < _FREE_AT_ONCE_SECONDS
        wait_until(lambda: all(metric.polls > polls[metric.name] for metric in run.status().metrics))
        assert run.end() == 0
        for metric in QUICK:
            written, dropped = run.accounted(metric)
            assert set() == dropped
            assert [*range(1, len(written) + 1)] == [seq for _, seq in written]
            assert max(poll["last_seq"] or 0 for poll in run.events("poll", target=metric)) == len(written)
        assert run.events("backlog", target="show_locks", level="error")
        assert run.events("backlog", target="show_locks", level="info", reason="over")


def test_what_memory_could_not_hold_is_in_gap_events(simulator: Simulator, tmp_path: Path) -> None:
    """With a small buffer each record is either in the files or named in a gap event."""
    simulator.set_rows({"show_locks": 50})
    with small_disk(tmp_path / "disk") as disk, service(simulator.port, disk / "logs", "--buffer_mb", "0.1", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        filler = fill(disk)
        wait_until(lambda: said_metric(run, "show_locks").pending_bytes > 90_000)
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 2)  # ten more polls of 25 kB each: more than fits

        filler.unlink()

        run.wait_for("gap", target="show_locks")
        run.wait_for_polls("show_locks")
        assert run.end() == 0
        written, dropped = run.accounted("show_locks")
        assert dropped
        assert len(set(written)) == len(written)
        assert set() == set(written) & dropped
        assert set(range(1, max(seq for _, seq in written) + 1)) == {seq for _, seq in written} | {seq for _, seq in dropped}


def test_directory_removed_under_a_running_service_is_made_again(simulator: Simulator, tmp_path: Path) -> None:
    """When a metric's directory is deleted its lines are reported as lost, and the next poll is written."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        subprocess.run(["rm", "-r", str(tmp_path / "logs" / "show_locks")], check=True)

        gap = run.wait_for("gap", target="show_locks")

        run.wait_for_polls("show_locks", after=gap["seq"])
        wait_until(lambda: run.records("show_locks"))
        assert run.end() == 0
        written, dropped = run.accounted("show_locks")
        assert set() == set(written) & dropped
        assert set(range(1, max(seq for _, seq in written) + 1)) == {seq for _, seq in written} | {seq for _, seq in dropped}


def said_metric(run: Service, name: str) -> status_file.MetricStatus:
    """Return the service's status of one metric."""
    return next(metric for metric in run.status().metrics if metric.name == name)
