"""What `sqmon status` says of a service, to whom, and with which exit code."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator, Sequence

import pytest

from sqmon.cli.console import Console
from sqmon.cli.status import show
from sqmon.clock import utc_stamp
from sqmon.health import status_file
from sqmon.health.status_file import AgentStatus, MetricStatus, Status, StatusFile
from sqmon.simulator import Simulator
from sqmon.storage.directory_lock import DirectoryLock
from tests.support.program import QUICK, Ended, ended, service, wait_until
from tests.support.users import NOBODY


def status(log_dir: Path, *words: str) -> Ended:
    """Return what `sqmon status` prints for a directory."""
    return ended("status", "--log_dir", str(log_dir), *words, cwd=log_dir.parent)


def test_healthy_service_exits_with_0(simulator: Simulator, tmp_path: Path) -> None:
    """A healthy service is exit code 0, with a table for people and an object for programs."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        wait_until(lambda: all(metric.polls for metric in run.status().metrics))
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
        wait_until(lambda: any(not metric.healthy for metric in run.status().metrics))
        sick = status(run.log_dir)
        simulator.clear_faults()
        run.wait_for_polls("show_locks")
        wait_until(lambda: all(metric.healthy for metric in run.status().metrics))
        well = status(run.log_dir)

    assert (sick.code, well.code) == (1, 0)
    assert sick.stdout.startswith("DEGRADED: 1 of 2 metrics fails: show_locks\n")
    assert re.search(r"^ *show_locks: .*the role must have SUPERUSER", sick.stdout, re.MULTILINE)


def test_what_keeps_an_outage_going_is_told(simulator: Simulator, tmp_path: Path) -> None:
    """The status tells the present cause of an outage: the database is back, but refuses the password."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        simulator.set_password("another")
        simulator.stop_worker()
        simulator.start_worker()
        run.wait_for("login_paused")
        wait_until(lambda: any("wrong password" in metric.error for metric in run.status().metrics))
        result = status(run.log_dir)

    assert result.code == 1
    assert re.search(r"^ *\w+: .*wrong password", result.stdout, re.MULTILINE)


def test_table_fits_into_80_columns(simulator: Simulator, tmp_path: Path) -> None:
    """The table of the default metrics fits into 80 columns, with nothing cut off."""
    with service(simulator.port, tmp_path / "logs", metrics={"show_server_status": 0.1}) as run:
        run.wait_for_polls("show_server_status", count=12)
        wait_until(lambda: all(metric.polls > 9 for metric in run.status().metrics))
        result = status(run.log_dir)
    lines = result.stdout.splitlines()

    assert max(map(len, lines)) <= 80
    assert any(line.split()[-6:] == ["rows", "ms", "polls", "failed", "records", "restarts"] for line in lines)


@pytest.mark.parametrize("exists", [True, False])
def test_agents_positions_are_told(simulator: Simulator, tmp_path: Path, exists: bool) -> None:
    """The status says from which file the agent's positions are read, or why nothing is known; neither makes the service unwell."""
    positions = tmp_path / "positions.yaml"
    if exists:
        positions.write_text("positions: {}\n", "utf-8")
    with service(simulator.port, tmp_path / "logs", "--agent_positions", str(positions), metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        wait_until(lambda: run.status().agent)
        result = status(run.log_dir)
        agent = run.status().agent
    problem = "" if exists else f"{positions}: can't be read: no such file or directory"
    told = " ".join(result.stdout.split())

    assert agent == AgentStatus(positions=str(positions), problem=problem)
    assert result.code == 0
    assert ("The agent's positions are read from" if exists else "The agent's positions are not known:") in told


def test_rejected_file_is_degraded(simulator: Simulator, tmp_path: Path) -> None:
    """A problem of the service itself is exit code 1 too."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        (tmp_path / "metrics.json").write_text("{", "utf-8")
        wait_until(lambda: run.status().problems)
        result = status(run.log_dir)

    assert result.code == 1
    assert re.match(r"DEGRADED: .*metrics.json:1:2: is not JSON", result.stdout)


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


def shown_of(place: Path, *metrics: MetricStatus, problems: Sequence[str] = ()) -> str:
    """What a service that has written this status, and is alive, looks like on a terminal of 80 columns."""
    file = StatusFile(place)
    started = utc_stamp(time.time_ns())
    file.write(
        Status(
            generation=1,
            version="1",
            pid=1,
            started=started,
            updated_ns=time.time_ns(),
            problems=[*problems],
            metrics=[*metrics],
            end=1,
        )
    )
    file.close()
    screen = io.StringIO()
    with DirectoryLock(place):
        show(place, as_json=False, console=Console(file=screen, width=80, force_terminal=True, color_system=None))
    return screen.getvalue()


def metric(name: str = "show_server_status", **more: Any) -> MetricStatus:
    """The status of a metric that is well unless `more` says something else."""
    return MetricStatus(**{"name": name, "state": "polling", "healthy": True, "interval": 1, **more})


@pytest.fixture
def east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone two hours east of Greenwich."""
    monkeypatch.setenv("TZ", "EET-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("east")
def test_times_are_local_and_name_their_zone(tmp_path: Path) -> None:
    """Times are local and name their zone, and a poll of another day has its date, in a table of 80 columns."""
    table = shown_of(
        tmp_path,
        metric(last_success="2026-10-31T23:30:00.123456789Z", polls=12345, records=1234567, last_rows=12, last_duration_ms=1234.5),
        metric("show_locks", last_success=utc_stamp(time.time_ns())),
    )
    lines = table.splitlines()

    assert max(map(len, lines)) <= 80
    assert any("EET" in line and line.split()[0] == "metric" for line in lines)
    assert any("2026-11-01" in line for line in lines)
    assert any("01:30:00" in line for line in lines)
    today = next(line for line in lines if line.startswith("show_locks"))
    assert re.search(r"polling +\d\d:\d\d:\d\d ", today)
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d EET$", lines[-1])


@pytest.mark.parametrize(
    ("metrics", "problems", "line"),
    [
        ([metric("a"), metric("b")], [], "OK: 2 of 2 metrics are well"),
        ([metric("a"), metric("b", healthy=False)], [], "DEGRADED: 1 of 2 metrics fails: b"),
        ([metric("a", healthy=False), metric("b", healthy=False)], [], "DEGRADED: 2 of 2 metrics fail: a, b"),
        ([metric("a")], ["logins are paused"], "DEGRADED: logins are paused"),
        ([metric("a")], ["this", "that"], "DEGRADED: 2 problems of the service"),
        ([metric("a", healthy=False)], ["logins are paused"], "DEGRADED: 1 of 1 metrics fails: a; logins are paused"),
    ],
)
def test_first_line_says_what_is_wrong(tmp_path: Path, metrics: list[MetricStatus], problems: list[str], line: str) -> None:
    """The first line is all that a monitoring system shows: it never says only that metrics are well when something is not."""
    assert shown_of(tmp_path, *metrics, problems=problems).splitlines()[0] == line


def test_text_from_outside_steers_no_terminal(tmp_path: Path) -> None:
    """A text from a server or a port is shown without controlling the terminal."""
    evil = "\x1b]0;title\x07\x1b[2J\u009b1mred\u202ethgir"
    screen = shown_of(tmp_path, metric(healthy=False, error=evil), problems=[evil, evil])

    assert [character for character in screen if not character.isprintable() and character != "\n"] == []
    assert "\\x1b]0;title" in screen


def test_directory_that_is_held_without_a_status_is_degraded(tmp_path: Path) -> None:
    """A service that holds the directory but has no status yet is degraded, not missing."""
    with DirectoryLock(tmp_path):
        table, document = status(tmp_path), status(tmp_path, "--json")

    assert (1, 1) == (table.code, document.code)
    assert table.stdout.startswith("DEGRADED: the sqmon that writes to ")
    assert {"running": True, "healthy": False, "log_dir": str(tmp_path)} == json.loads(document.stdout)


AS_SOMEBODY_ELSE = """
import contextlib, io, os, sys
from sqmon.cli import main
words = ["status", "--log_dir", sys.argv[1]]
with contextlib.redirect_stdout(io.StringIO()):
    main.main(words)  # imports what the other user may not be able to read
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
raise SystemExit(main.main(words))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_member_of_the_group_may_ask_and_others_may_not(simulator: Simulator, shared_path: Path) -> None:
    """A member of the group can ask without the right to write; others are told that they may not read."""
    with service(simulator.port, shared_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        run.status()
        member, stranger = NOBODY, NOBODY - 1
        for path in (run.log_dir, run.log_dir / status_file.NAME, run.log_dir / ".lock"):
            os.chown(path, -1, member)
        words = [sys.executable, "-c", AS_SOMEBODY_ELSE, str(run.log_dir)]
        by_member = subprocess.run([*words, str(member)], capture_output=True, text=True, check=False)
        by_stranger = subprocess.run([*words, str(stranger)], capture_output=True, text=True, check=False)

    assert (0, "") == (by_member.returncode, by_member.stderr)
    assert by_member.stdout.startswith("OK: 2 of 2 metrics are well")
    assert (1, "") == (by_stranger.returncode, by_stranger.stdout)
    assert re.fullmatch(r"sqmon: .*/logs/status.json: can't be read: permission denied; .*\n", by_stranger.stderr)


def test_room_and_retention_are_told(simulator: Simulator, tmp_path: Path) -> None:
    """The status says how much the files take, since when, what retention will do, and what the agent has not read."""
    positions = tmp_path / "positions.yml"
    positions.write_text("positions: {}\n", "utf-8")
    options = ("--retention_mb", "1", "--retention_days", "3", "--agent_positions", str(positions))
    with service(simulator.port, tmp_path / "logs", *options, metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        wait_until(lambda: run.status().agent)
        table, document = status(run.log_dir), json.loads(status(run.log_dir, "--json").stdout)
        streams = [path for path in run.log_dir.glob("*/*.jsonl") if path.parent.name != "current"]
        size = sum(path.stat().st_size for path in streams)

    files = document["files"]
    assert 0 < files["segment_bytes"] <= size
    assert (len(streams), 0, 0) == (files["segments"], files["archives"], files["archive_bytes"])
    assert files["unread_bytes"] == files["segment_bytes"]
    assert files["retention_reason"] in ("age", "size")
    assert 0 <= files["retention_in_s"] <= 3 * 86400
    assert re.search(r"^Files: .* \(\d segments? with .*\); the oldest is from \d{4}-\d\d-\d\d", table.stdout, re.MULTILINE)
    assert re.search(r"retention deletes segments for their (age|size)", table.stdout)
    assert re.search(r"^The agent is not known to have read .*, from ", table.stdout, re.MULTILINE)
