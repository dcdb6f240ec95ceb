"""The process `lifetimes` of the real service: followed, killed, restarted, stopped, left out."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from sqmon.lifetimes.following import Following
from sqmon.lifetimes.lines import METRIC, Line
from sqmon.lifetimes.stream_end import StreamEnd
from sqmon.simulator import Simulator
from sqmon.storage.reader import StreamReader
from tests.lifetimes.site import events
from tests.support.program import Service, ended, service, wait_until

POLLED = {"show_locks": 0.2, "show_server_status": 0.2}


def written(log_dir: Path) -> list[Line]:
    """The stream, but for what differs from run to run."""
    return [{name: value for name, value in line.items() if name not in ("seq", "run_id")} for line in StreamReader(log_dir, METRIC).read()]


def revealed(log_dir: Path) -> list[Line]:
    """What the files of the directory reveal."""
    return [line for lines in Following(log_dir, StreamEnd()).read() for line in lines]


def wait_for_line(log_dir: Path, event: str, statement_id: str) -> Line:
    """Return the line as soon as it is there."""
    return wait_until(lambda: [line for line in events(written(log_dir), event) if line["statement_id"] == statement_id])[0]


def test_stream_is_what_the_files_reveal_whatever_is_killed(tmp_path: Path) -> None:
    """Kills of the process, of a worker and of the whole service leave neither a hole nor a line twice, and a stop tells everything."""
    log_dir = tmp_path / "logs"
    with Simulator(idle=True, seed=7) as simulator:
        number = simulator.run("update public.t set x = 1", seconds=None)
        with service(simulator.port, log_dir, metrics=POLLED) as run:
            wait_for_line(log_dir, "lock_acquired", number)
            for _ in range(2):
                pid, after = run.worker(METRIC), run.latest()
                os.kill(pid, signal.SIGKILL)
                exited = run.wait_for("worker_exit", after=after, target=METRIC)
                assert (exited["kind"], exited["signal"]) == ("died", signal.SIGKILL)
                run.wait_for("worker_start", after=after, target=METRIC)
            other = simulator.run("insert into public.u values (1)", seconds=None)
            wait_for_line(log_dir, "lock_acquired", other)
            os.kill(run.worker("show_locks"), signal.SIGKILL)
            simulator.end(number)
            wait_for_line(log_dir, "lock_released", number)
            os.killpg(run.pid, signal.SIGKILL)
        with service(simulator.port, log_dir, metrics=POLLED) as run:
            run.wait_for_polls(*POLLED)
            simulator.end(other)
            run.wait_for_polls(*POLLED)
            assert run.end() == 0

    assert json.dumps(revealed(log_dir)) == json.dumps(written(log_dir))
    assert {number, other} == {line["statement_id"] for line in events(written(log_dir), "lock_released")}
    assert ended("verify", str(log_dir), cwd=tmp_path).code == 0


def test_status_says_how_it_is(simulator: Simulator, tmp_path: Path) -> None:
    """`sqmon status` and `status.json` say that lifetimes follow, and name what keeps them from it."""
    log_dir = tmp_path / "logs"
    with service(simulator.port, log_dir, metrics=POLLED) as run:

        def follows(run: Service) -> bool:
            lifetimes = run.status().lifetimes
            return lifetimes is not None and lifetimes.state == "following" and lifetimes.lines > 0

        wait_until(lambda: follows(run))
        assert "Lifetimes follow and are up to date" in ended("status", "--log_dir", str(log_dir), cwd=tmp_path).stdout
        os.kill(run.worker(METRIC), signal.SIGSTOP)
        os.kill(run.worker(METRIC), signal.SIGKILL)
        wait_until(lambda: any("lifetimes: killed by SIGKILL" in problem for problem in run.status().problems))
        wait_until(lambda: follows(run) and not run.status().problems)


def test_without_lifetimes_there_is_no_process(simulator: Simulator, tmp_path: Path) -> None:
    """`--lifetimes off` starts no process and writes no stream."""
    with service(simulator.port, tmp_path / "logs", "--lifetimes", "off", metrics=POLLED) as run:
        run.wait_for_polls(*POLLED)
        assert run.status().lifetimes is None
        assert run.end() == 0
        assert not run.events(target=METRIC)
        assert not (tmp_path / "logs" / METRIC).exists()
