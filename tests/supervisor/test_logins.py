"""How many refused logins reach the server, with the real program: one per pause."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from sqmon.health.status_file import read
from sqmon.simulator import Simulator
from tests.support.program import Service, ended, metrics_file, seconds_between, service, wait_until

NAMES = [f"m{number}" for number in range(8)]


def eight(interval: float) -> dict[str, Any]:
    """Return eight metrics that are polled each `interval` seconds."""
    return {name: {"interval": interval, "query": "select show_cluster_nodes()"} for name in NAMES}


def refused_in_all(simulator: Simulator) -> int:
    """Return how many logins the server has refused so far."""
    return int(simulator.stats()["failed_logins"])


def let_rounds_pass(run: Service) -> None:
    """Return when the supervisor has looked at all its children a few times."""

    def generation() -> int:
        status = read(run.log_dir)
        return status.generation if status is not None else 0

    now = generation()
    wait_until(lambda: generation() >= now + 4)


def test_reload_of_many_metrics_with_a_changed_password_is_one_refused_login(simulator: Simulator, tmp_path: Path) -> None:
    """The sessions that live go on until the reload; then one login finds out for all of them."""
    with service(simulator.port, tmp_path / "logs", metrics=eight(0.5)) as run:
        run.wait_for_polls(*NAMES)
        simulator.set_password("new")
        run.wait_for_polls(*NAMES)
        metrics_file(tmp_path, eight(0.6))

        run.wait_for("login_paused")

        for name in NAMES:
            run.wait_for("worker_exit", target=name)
        let_rounds_pass(run)
        assert refused_in_all(simulator) == 1
        assert len(run.events("login_paused")) == 1
        assert run.end() == 0


def test_statement_errors_of_many_metrics_with_a_changed_password_are_one_refused_login(simulator: Simulator, tmp_path: Path) -> None:
    """All sessions end without their connections being lost, and all come back at about the same time."""
    with service(simulator.port, tmp_path / "logs", metrics=eight(0.5)) as run:
        run.wait_for_polls(*NAMES)
        simulator.set_password("new")
        simulator.set_fault("*", step="execute", action="error", text="session expired", times=8)
        run.wait_for("login_paused")
        for name in NAMES:
            run.wait_for("worker_exit", target=name)
        let_rounds_pass(run)

        assert refused_in_all(simulator) == 1
        assert run.end() == 0


def test_password_file_that_is_renewed_while_the_old_one_is_refused_pauses_nothing(simulator: Simulator, tmp_path: Path) -> None:
    """What was refused is not what the file has now, so the next login follows at once."""
    password = tmp_path / "password"
    password.write_text("sqream", "utf-8")
    with service(simulator.port, tmp_path / "logs", "--password_file", str(password), metrics={"show_locks": 0.5}) as run:
        run.wait_for_polls("show_locks")
        simulator.set_password("new")
        simulator.set_fault("*", step="login", action="slow", seconds=1.0, times=1)
        before = run.latest()
        simulator.stop_worker()
        simulator.start_worker()
        run.wait_for("worker_start", after=before)
        password.write_text("new", "utf-8")
        refused = run.wait_for("login_paused")

        run.wait_for_polls("show_locks", after=refused["seq"])

        assert refused_in_all(simulator) == 1
        assert run.end() == 0


def test_restarts_within_the_pause_try_no_login(simulator: Simulator, tmp_path: Path) -> None:
    """systemd starts a service that failed again and again; only the first start asks the server, and a new password ends that at once."""
    password, log_dir = tmp_path / "password", tmp_path / "logs"
    password.write_text("wrong", "utf-8")
    words = ("run", "--host", "127.0.0.1", "--port", str(simulator.port), "--log_dir", str(log_dir), "--password_file", str(password))
    first, *others = [ended(*words, cwd=tmp_path) for _ in range(4)]

    assert refused_in_all(simulator) == 1
    assert [end.code for end in (first, *others)] == [1] * 4
    assert "wrong password for role 'sqream'" in first.stderr.splitlines()[-1]
    for end in others:
        assert "logins are paused until 20" in end.stderr.splitlines()[-1]
        assert "wrong password for role 'sqream'" in end.stderr.splitlines()[-1]
    password.write_text("sqream", "utf-8")
    with service(simulator.port, log_dir, "--password_file", str(password), metrics={"show_locks": 0.5}) as run:
        run.wait_for_polls("show_locks")
        assert list(log_dir.glob(".login_pause-*")) == []
        assert run.end() == 0


def test_pause_of_a_service_that_is_killed_holds_for_the_next(simulator: Simulator, tmp_path: Path) -> None:
    """Its workers have seen to that, before it could do anything itself."""
    with service(simulator.port, tmp_path / "logs", metrics={"show_locks": 0.5}) as run:
        run.wait_for_polls("show_locks")
        simulator.set_password("new")
        simulator.stop_worker()
        simulator.start_worker()
        run.wait_for("login_paused")
        wait_until(lambda: list(run.log_dir.glob(".login_pause-*")))
        os.kill(run.pid, signal.SIGKILL)
        wait_until(run.fell_silent)
    words = ("run", "--host", "127.0.0.1", "--port", str(simulator.port), "--log_dir", str(tmp_path / "logs"))

    end = ended(*words, cwd=tmp_path)

    assert "logins are paused until 20" in end.stderr.splitlines()[-1]
    assert refused_in_all(simulator) == 1


def test_pause_beside_a_single_file_holds_too(simulator: Simulator, tmp_path: Path) -> None:
    """Without a directory of its own the service leaves the note beside the file."""
    path = tmp_path / "all.jsonl"
    words = ("run", "--host", "127.0.0.1", "--port", str(simulator.port), "--log_file_path", str(path), "--password", "wrong")
    ends = [ended(*words, cwd=tmp_path) for _ in range(2)]

    assert refused_in_all(simulator) == 1
    assert "logins are paused until 20" in ends[1].stderr.splitlines()[-1]
    assert len(list(tmp_path.glob("all.jsonl.login_pause-*"))) == 1


def test_many_metrics_start_quickly_behind_one_login(simulator: Simulator, tmp_path: Path) -> None:
    """One login goes ahead, and when it has worked the others don't wait for each other any more than a lock of the role asks."""
    metrics = {f"m{number}": {"interval": 5, "query": "select show_cluster_nodes()"} for number in range(40)}
    simulator.set_fault("*", step="login", action="slow", seconds=0.1)
    with service(simulator.port, tmp_path / "logs", "--allow_gpu", metrics=metrics) as run:
        run.wait_for_polls(*metrics, after=0, count=1)
        starts = [start for start in run.events("worker_start") if start["target"] in metrics]

        assert len(starts) == 40
        # One after another they would take 4 s for the logins alone.
        assert seconds_between(starts[0], starts[-1]) < 3.5
        assert run.end() == 0
