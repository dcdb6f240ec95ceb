"""A disk that stalls or fails: polling continues, nobody is killed for it, and the status says what is wrong."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest

from sqmon.health import status_file
from sqmon.simulator import Simulator
from tests.support.program import ended, service, wait_until
from tests.support.segment_files import small_disk
from tests.support.slow_disk import SlowDisk

QUICK = {"show_locks": 0.1, "get_license_info": 0.1}
ONE = {"show_locks": 0.1}


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    """A disk that answers until it is told otherwise."""
    return SlowDisk(tmp_path, monkeypatch)


def problems(log_dir: Path) -> list[str]:
    """What the status of a running service says is wrong, with the service and with its metrics."""
    status = status_file.read(log_dir)
    return [*status.problems, *(metric.error for metric in status.metrics if metric.error)] if status else []


def last_poll(log_dir: Path, metric: str) -> int:
    """The number of polls that the status knows of."""
    status = status_file.read(log_dir)
    return next((found.polls for found in status.metrics if found.name == metric), 0) if status else 0


def test_stalled_disk_holds_up_only_what_waits_for_it(simulator: Simulator, tmp_path: Path, disk: SlowDisk) -> None:
    """A worker and the service's own stream wait for the disk, and nobody is killed for it.

    Meanwhile reports are read, another metric is polled as ever, and the status names what waits. Afterwards an event says how long it
    took, and no line is missing.
    """
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        before, pid = run.latest(), run.worker("show_locks")
        disk.stall("logs/sqmon/", "logs/show_locks/")
        wait_until(lambda: sum("the disk has not answered for" in problem for problem in problems(run.log_dir)) == 2)
        polls = last_poll(run.log_dir, "get_license_info")
        wait_until(lambda: last_poll(run.log_dir, "get_license_info") > polls + 10)
        disk.recover()
        warnings = [run.wait_for("disk_warning", after=before, target=target) for target in ("sqmon", "show_locks")]
        run.wait_for_polls(*QUICK, after=warnings[-1]["seq"])
        wait_until(lambda: not problems(run.log_dir))

        assert all(warning["reason"].startswith("the disk did not answer for ") for warning in warnings)
        assert pid == run.worker("show_locks")
        assert not run.events("worker_exit")
        assert sum(event["skipped"] for event in run.events("poll", target="get_license_info", status="skipped")) < 10
        assert run.end() == 0
        for records in (run.events(), run.records("show_locks"), run.records("get_license_info")):
            assert [record["seq"] for record in records] == list(range(1, len(records) + 1))


def test_stop_does_not_wait_for_a_stalled_disk(simulator: Simulator, tmp_path: Path, disk: SlowDisk) -> None:
    """SIGTERM ends the service while the disk stalls, and the log says that events are lost."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        disk.stall("logs/sqmon/")

        assert run.end() == 0
        assert [json.loads(line)["reason"] for line in run.stderr.splitlines() if "events not written" in line] == [
            "the disk does not answer"
        ]


def test_stalled_status_holds_nothing_up(simulator: Simulator, tmp_path: Path, disk: SlowDisk) -> None:
    """A status file that can't be written holds nothing up."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        disk.stall("logs/status.json")
        generation = status_file.read(run.log_dir)
        run.wait_for_polls(*QUICK, count=30)
        assert generation is not None
        latest = status_file.read(run.log_dir)
        assert latest is not None
        assert latest.generation <= generation.generation + 1
        disk.recover()
        wait_until(lambda: (now := status_file.read(run.log_dir)) and now.generation > latest.generation)

        assert run.end() == 0


def test_stalled_sweep_holds_nothing_up(simulator: Simulator, tmp_path: Path, disk: SlowDisk) -> None:
    """A deletion that stalls holds up neither polls nor the stop, and its event comes when the segment is gone."""
    directory = tmp_path / "logs" / "show_locks"
    directory.mkdir(parents=True)
    old = directory / "show_locks-20200101T000000.000000Z-000001.jsonl"
    young = directory / "show_locks-20200102T000000.000000Z-000002.jsonl"
    for path in (old, young):
        path.write_text("{}\n", "utf-8")
    os.utime(old, (1_577_836_800, 1_577_836_800))
    disk.stall("show_locks-20200101")
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK, count=30)
        assert old.exists()
        disk.recover()
        run.wait_for("segment_deleted")

        assert not old.exists()
        assert run.end() == 0


def test_failing_fsync_of_a_worker_is_told(simulator: Simulator, tmp_path: Path, disk: SlowDisk) -> None:
    """A failed fsync is an event, and the service is degraded."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        disk.fail("logs/show_locks/")

        warning = run.wait_for("disk_warning", target="show_locks")
        wait_until(lambda: problems(run.log_dir))
        status = ended("status", "--log_dir", str(run.log_dir), cwd=tmp_path)

        assert "may not survive a power loss: input/output error" in warning["reason"]
        assert status.code == 1
        assert "may not survive a power loss" in status.stdout
        assert not run.events("worker_exit")


def test_failing_fsync_of_the_own_stream_is_told(simulator: Simulator, tmp_path: Path, disk: SlowDisk) -> None:
    """A failed fsync of the service's own stream is told as well."""
    with service(simulator.port, tmp_path / "logs", metrics=ONE) as run:
        run.wait_for_polls("show_locks")
        disk.fail("logs/sqmon/")
        warning = run.wait_for("disk_warning", target="sqmon")
        wait_until(lambda: any("may not survive a power loss" in problem for problem in problems(run.log_dir)))

        assert "may not survive a power loss: input/output error" in warning["reason"]


def test_segment_that_cannot_be_followed_by_another_is_told(simulator: Simulator, tmp_path: Path) -> None:
    """On a disk without a free inode the lines go into the long segment, and an event says so until it is over."""
    simulator.set_rows({"show_locks": 200})
    options = ("--segment_mb", "0.05")
    with (
        small_disk(tmp_path / "disk", "50m", ",nr_inodes=60") as place,
        service(simulator.port, place / "logs", *options, metrics=ONE) as run,
    ):
        run.wait_for("segment_sealed")
        used = [place / "file-0"]
        with contextlib.suppress(OSError):
            while True:
                used[-1].touch()
                used.append(place / f"file-{len(used)}")
        warning = run.wait_for("disk_warning", target="show_locks")
        wait_until(lambda: any("no new segment" in problem for problem in problems(run.log_dir)))
        for path in used[:-1]:
            path.unlink()
        over = run.wait_for("disk_warning", after=warning["seq"], target="show_locks", reason="over")

        assert "no new segment: no space left on device" in warning["reason"]
        assert (warning["level"], over["level"]) == ("warning", "info")
        assert run.end() == 0
