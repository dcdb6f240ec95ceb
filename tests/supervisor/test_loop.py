"""What must not hold or mislead the supervisor's loop, with the real program."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sqmon.simulator import Simulator
from tests.support.program import command, environment, metrics_file, service, wait_until

QUICK = {"show_locks": 0.2, "show_version": 0.2}
_TICKS = os.sysconf("SC_CLK_TCK")
_PIDFD_GETFD = 438


def children(pid: int) -> list[int]:
    """Return the child processes of a process, zombies too."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def wait(seconds: float) -> None:
    """Return when the time is over, where the test is of time itself."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end)


def test_sigterm_is_answered_while_the_forkserver_is_stopped(simulator: Simulator, tmp_path: Path) -> None:
    """A start that can't be answered holds nothing up."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        os.kill(run.forkserver(), signal.SIGSTOP)
        os.kill(run.worker("show_locks"), signal.SIGKILL)
        run.wait_for("worker_exit", target="show_locks")

        assert run.end() == 0


def test_stopped_forkserver_is_replaced(simulator: Simulator, tmp_path: Path) -> None:
    """The metric is polled again from a new one, an event tells why, and the other metric notices nothing."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        os.kill(run.forkserver(), signal.SIGSTOP)
        os.kill(run.worker("show_locks"), signal.SIGKILL)

        lost = run.wait_for("forkserver_exit")

        assert lost["reason"].startswith("it did not answer for 1")
        run.wait_for_polls(*QUICK, after=lost["seq"])
        assert run.events("worker_exit", target="show_version") == []
        assert run.end() == 0


def test_end_of_a_worker_whose_forkserver_was_killed_is_told_as_unknown(simulator: Simulator, tmp_path: Path) -> None:
    """Nobody knows the signal that ended it, so none is made up."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        os.kill(run.forkserver(), signal.SIGKILL)
        os.kill(run.worker("show_locks"), signal.SIGSEGV)

        end = run.wait_for("worker_exit", target="show_locks")

        assert end["reason"] == "ended, and the forkserver that would know how was gone before"
        assert {"exit_code", "signal"}.isdisjoint(name for name, value in end.items() if value is not None)
        run.wait_for_polls(*QUICK, after=end["seq"])
        assert run.end() == 0


def test_pause_of_everything_ends_no_healthy_worker(simulator: Simulator, tmp_path: Path) -> None:
    """After a snapshot or a suspended host the supervisor first hears what its workers have to say."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        before = run.latest()
        os.killpg(run.pid, signal.SIGSTOP)
        wait(7)
        os.killpg(run.pid, signal.SIGCONT)

        run.wait_for_polls(*QUICK, after=before)

        assert run.events("worker_exit") == []
        assert run.end() == 0


def test_stop_does_not_spin_over_a_changed_metrics_file(simulator: Simulator, tmp_path: Path) -> None:
    """While the last worker is waited for, the supervisor has nothing to do."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        os.kill(run.worker("show_locks"), signal.SIGSTOP)
        metrics_file(tmp_path, {**QUICK, "show_cluster_nodes": 1})
        os.kill(run.pid, signal.SIGTERM)
        before = cpu_seconds(run.pid)
        wait(3)

        assert not run.ended
        assert cpu_seconds(run.pid) - before < 1
        assert run.process.wait(10) == 0


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def test_worker_that_does_not_die_of_being_killed_does_not_keep_the_service_from_ending(simulator: Simulator, tmp_path: Path) -> None:
    """As one in uninterruptible sleep seems to do: its pipe stays open, and nobody tells of its end."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        held = sockets_of(run.worker("show_locks"))
        if not held:
            pytest.skip("the kernel hands out no descriptors of other processes")
        os.kill(run.forkserver(), signal.SIGSTOP)

        os.kill(run.pid, signal.SIGTERM)

        assert run.process.wait(15) == 0
        end = run.events("worker_exit", target="show_locks")[-1]
        assert end["kind"] == "hung"
        assert end["reason"].endswith("killed, but lives on inside the kernel (waiting for a disk?)")
        assert run.events()[-1]["event"] == "stop"
        for descriptor in held:
            os.close(descriptor)


def sockets_of(pid: int) -> list[int]:
    """Return copies of the sockets of a process, which keep them open when the process is gone."""
    if not hasattr(os, "pidfd_open"):
        return []
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return []
    call = ctypes.CDLL(None).syscall
    numbers = [int(link.name) for link in Path(f"/proc/{pid}/fd").iterdir() if str(link.readlink()).startswith("socket:")]
    copies = [int(call(_PIDFD_GETFD, process, number, 0)) for number in numbers]
    os.close(process)
    return [copy for copy in copies if copy >= 0]


def test_no_temporary_directory_is_needed(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is put there, so neither a path too long for a socket nor somebody who cleans up matters."""
    temporary = tmp_path / ("x" * 100)
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        assert list(temporary.iterdir()) == []
        temporary.rmdir()
        os.kill(run.worker("show_locks"), signal.SIGKILL)
        end = run.wait_for("worker_exit", target="show_locks")

        run.wait_for_polls("show_locks", after=end["seq"])

        assert run.end() == 0


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can be process 1")
def test_process_1_reaps_what_is_left_to_it(simulator: Simulator, tmp_path: Path) -> None:
    """In a container without an init, workers whose forkserver was killed become children of the supervisor."""
    words = ["run", "--host", "127.0.0.1", "--port", str(simulator.port), "--log_dir", str(tmp_path / "logs"), "--loki_port", "1"]
    path = metrics_file(tmp_path, QUICK)
    inner = ["unshare", "--pid", "--fork", "--kill-child", *command(*words, "--metrics_file", str(path))]
    with subprocess.Popen(inner, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL) as outer:
        try:
            supervisor = wait_until(lambda: children(outer.pid))[0]
            # One more than there are metrics: the process that follows lifetimes.
            forkserver = wait_until(lambda: [pid for pid in children(supervisor) if len(children(pid)) == len(QUICK) + 1])[0]
            workers = children(forkserver)
            os.kill(forkserver, signal.SIGKILL)
            wait_until(lambda: set(workers) <= set(children(supervisor)))
            for worker in workers:
                os.kill(worker, signal.SIGKILL)

            wait_until(lambda: set(children(supervisor)).isdisjoint({forkserver, *workers}))
            wait_until(lambda: any(len(children(pid)) == len(QUICK) + 1 for pid in children(supervisor)))
            os.kill(supervisor, signal.SIGTERM)
            outer.wait(10)
        finally:
            outer.kill()


IMPORTED = """
argparse selectors subprocess socket json ssl hashlib logging linecache multiprocessing ctypes signal queue tempfile
structlog msgspec pysqream ping numpy pyarrow thrift packaging rich watchdog prometheus_client yaml sitecustomize usercustomize
"""


@pytest.mark.parametrize("how", ["command", "module"])
def test_nothing_is_imported_from_the_working_directory(simulator: Simulator, tmp_path: Path, how: str) -> None:
    """Anybody who may write there could otherwise run code with the service's rights: in the supervisor, the forkserver or a worker."""
    mark = tmp_path / "imported"
    hostile = f"import os; os.close(os.open({str(mark)!r}, os.O_CREAT | os.O_WRONLY)); raise RuntimeError(__name__)\n"
    for name in IMPORTED.split():
        (tmp_path / f"{name}.py").write_text(hostile, "utf-8")
    start = [sys.executable, "-m", "sqmon"]
    if how == "command":
        script = Path(sys.executable).with_name("sqmon")
        if not script.exists():
            pytest.skip("sqmon is not installed beside this Python")
        start = [str(script)]
        (tmp_path / "sqmon").mkdir()
        (tmp_path / "sqmon" / "__init__.py").write_text(hostile, "utf-8")
    words = ["run", "--host", "127.0.0.1", "--port", str(simulator.port), "--log_dir", str(tmp_path / "logs"), "--loki_port", "1"]
    words += ["--metrics_file", str(metrics_file(tmp_path, QUICK))]
    with subprocess.Popen([*start, *words], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: process.poll() is not None or list((tmp_path / "logs").glob("show_locks/*.jsonl")))
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=15)
        finally:
            process.kill()

    assert (process.returncode, mark.exists()) == (0, False), said.decode()
    records = [json.loads(line) for path in (tmp_path / "logs").glob("show_locks/*.jsonl") for line in path.read_text("utf-8").splitlines()]
    assert records
