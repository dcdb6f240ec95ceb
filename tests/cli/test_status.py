"""How the service is, for outsiders: `sqmon status`, systemd's notify socket, Prometheus."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from sqmon.health import status_file
from sqmon.health.status_file import Status
from sqmon.simulator import Simulator
from tests.support.program import Ended, Service, ended, service, wait_until

QUICK = {"show_locks": 0.2, "get_license_info": 0.2}


def status(log_dir: Path, *words: str) -> Ended:
    """Return what `sqmon status` prints for a directory."""
    return ended("status", "--log_dir", str(log_dir), *words, cwd=log_dir.parent)


def said(run: Service) -> Status:
    """Return the status that a running service has written."""
    status = wait_until(lambda: status_file.read(run.log_dir))
    assert status is not None
    return status


def test_healthy_service_exits_with_0(simulator: Simulator, tmp_path: Path) -> None:
    """A healthy service is exit code 0, with a table for people and an object for programs."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        wait_until(lambda: all(metric.polls for metric in said(run).metrics))
        table, document = status(run.log_dir), status(run.log_dir, "--json")

    assert (table.code, document.code) == (0, 0)
    assert table.stdout.startswith("OK: 2 of 2 metrics are well")
    assert all(re.search(rf"^{metric} +polling", table.stdout, re.MULTILINE) for metric in QUICK)
    told = json.loads(document.stdout)
    assert (True, True, sorted(QUICK)) == (told["running"], told["healthy"], sorted(metric["name"] for metric in told["metrics"]))


def test_one_failing_metric_is_degraded_and_named(simulator: Simulator, tmp_path: Path) -> None:
    """A failing metric is exit code 1 and named with its error, until its cause is gone."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        simulator.set_fault("show_locks", step="execute", action="error", text="the role must have SUPERUSER")
        wait_until(lambda: any(not metric.healthy for metric in said(run).metrics))
        sick = status(run.log_dir)
        simulator.clear_faults()
        run.wait_for_polls("show_locks")
        wait_until(lambda: all(metric.healthy for metric in said(run).metrics))
        well = status(run.log_dir)

    assert (sick.code, well.code) == (1, 0)
    assert "DEGRADED: 1 of 2 metrics are well" in sick.stdout
    assert re.search(r"^ *show_locks: .*the role must have SUPERUSER", sick.stdout, re.MULTILINE)


def test_what_keeps_an_outage_going_is_told(simulator: Simulator, tmp_path: Path) -> None:
    """The status tells the present cause of an outage: the database is back, but refuses the password."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        simulator.set_password("another")
        simulator.stop_worker()
        simulator.start_worker()
        run.wait_for("login_paused")
        wait_until(lambda: any("wrong password" in metric.error for metric in said(run).metrics))
        result = status(run.log_dir)

    assert result.code == 1
    assert re.search(r"^ *\w+: .*wrong password", result.stdout, re.MULTILINE)


def test_table_fits_into_80_columns(simulator: Simulator, tmp_path: Path) -> None:
    """The table of the default metrics fits into 80 columns, with nothing cut off."""
    with service(simulator.port, tmp_path / "logs", metrics={"show_server_status": 0.1}) as run:
        run.wait_for_polls("show_server_status", count=12)
        wait_until(lambda: all(metric.polls > 9 for metric in said(run).metrics))
        result = status(run.log_dir)
    lines = result.stdout.splitlines()

    assert max(map(len, lines)) <= 80
    assert ["metric", "state", "last", "ok", "rows", "ms", "polls", "failed", "records", "restarts"] in [line.split() for line in lines]


def test_rejected_file_is_degraded(simulator: Simulator, tmp_path: Path) -> None:
    """A problem of the service itself is exit code 1 too."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        (tmp_path / "metrics.json").write_text("{", "utf-8")
        wait_until(lambda: said(run).problems)
        result = status(run.log_dir)

    assert (result.code, "metrics.json:1:2: is not JSON" in result.stdout) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_service_exits_with_2(simulator: Simulator, tmp_path: Path, number: signal.Signals) -> None:
    """Without a service that holds the directory the exit code is 2, whether the last one was stopped or killed."""
    assert status(tmp_path / "nothing").code == 2
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        os.kill(run.pid, number)
        run.process.wait()
        result, document = status(run.log_dir), status(run.log_dir, "--json")

    assert (result.code, document.code, json.loads(document.stdout)["running"]) == (2, 2, False)
    assert result.stdout.startswith("NOT RUNNING")


def test_single_file_has_no_status(tmp_path: Path) -> None:
    """A status that is asked of a single file says where to look instead."""
    result = ended("status", "--log_file_path", "one.jsonl", cwd=tmp_path)

    line = "sqmon: one.jsonl: a service that writes one file leaves no status; its events are in that file (metric sqmon)\n"
    assert (1, line) == (result.code, result.stderr)
