"""Lifetimes from the files of the real program, whatever was killed meanwhile, against the truth of the simulator."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from sqmon.clock import stamp_ns
from sqmon.lifetimes.directory import Directory
from sqmon.lifetimes.lifetimes import METRICS, Lifetimes
from sqmon.lifetimes.lines import Line
from sqmon.simulator import Simulator
from tests.lifetimes.site import events
from tests.support.program import service

LOCK = ("statement_id", "locked_object", "lock_mode")


def lines_of(log_dir: Path) -> list[Line]:
    """Everything that the files of a directory reveal."""
    lifetimes = Lifetimes()
    return [line for _, poll in Directory(log_dir, METRICS).read() if poll is not None for line in lifetimes.take(poll)]


def fits(line: Line, truth: dict[str, Any]) -> bool:
    """Whether a line may tell of this lock: its bounds hold the truth."""
    ended = truth["ended_ns"] or 1 << 62
    return (
        all(line[name] == truth[name] for name in LOCK)
        and (line["began_after"] is None or stamp_ns(line["began_after"]) <= truth["began_ns"])
        and truth["began_ns"] <= stamp_ns(line["began_before"])
        and stamp_ns(line["ended_after"]) <= ended
        and (line["ended_before"] is None or ended <= stamp_ns(line["ended_before"]))
    )


def test_locks_are_told_once_and_truly_whatever_is_killed(tmp_path: Path) -> None:
    """Kills of a worker and of the service, polls that fail or hang, change-only emission and a restart of the server leave no untruth."""
    log_dir = tmp_path / "logs"
    with Simulator(idle=True, seed=7) as simulator:
        for emit, fault, status in (("rows", "error", "error"), ("changes", "hang", "timeout")):
            quick = {name: {"interval": 0.2, "emit": emit, "timeout": 1.0} for name in ("show_locks", "show_server_status")}
            simulator.run(f"update public.{emit} set x = 1", seconds=None)
            with service(simulator.port, log_dir, metrics=quick) as run:
                run.wait_for_polls(*quick)
                short = simulator.run(f"insert into public.{emit}_staging values (1)", seconds=None)
                run.wait_for_polls(*quick)
                simulator.set_fault("show_locks", "fetch", fault, times=1)
                run.wait_for("poll", target="show_locks", status=status)
                run.wait_for_polls("show_locks")
                simulator.end(short)
                run.wait_for_polls(*quick)
                if emit == "rows":
                    os.kill(run.worker("show_locks"), signal.SIGKILL)
                    run.wait_for_polls("show_locks")
                    os.killpg(run.pid, signal.SIGKILL)
                else:
                    simulator.restart()
                    run.wait_for_polls(*quick)
                    assert run.end() == 0
        truth = simulator.truth()["locks"]

    lines = lines_of(log_dir)
    acquired, released = (events(lines, event) for event in ("lock_acquired", "lock_released"))
    assert sorted(tuple(lock[name] for name in LOCK) for lock in truth) == sorted(tuple(line[name] for name in LOCK) for line in acquired)
    over = [lock for lock in truth if lock["ended_ns"]]
    assert sorted(tuple(lock[name] for name in LOCK) for lock in over) == sorted(tuple(line[name] for name in LOCK) for line in released)
    assert [line for line in lines if line["event"].startswith("lock_") and not any(fits(line, lock) for lock in truth)] == []
    assert json.dumps(lines) == json.dumps(lines_of(log_dir))
    assert len(events(lines, "server_restarted")) == 1
