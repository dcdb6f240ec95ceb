"""What the supervisor survives: the real program, real signals, and a database that misbehaves."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Iterator

import pytest

from sqmon.simulator import Simulator
from tests.support.program import Service, service, session_processes, wait_until

QUICK = {"show_locks": 0.2, "get_license_info": 0.2, "show_cluster_nodes": 0.2}
OTHERS = ("get_license_info", "show_cluster_nodes")
BACK_SECONDS = 5.0
LATE_MS = 50.0


def gaps(run: Service, target: str) -> list[dict[str, object]]:
    """Return the gap events of one metric."""
    return run.events("gap", target=target)


@pytest.fixture
def server_process() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a simulator in a process of its own, which can be stopped as a host that swaps stops its server; return it and its port."""
    command = [sys.executable, "-m", "sqmon.simulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline().split(":")[1])
        process.send_signal(signal.SIGCONT)
        process.terminate()


@pytest.mark.parametrize("step", ["prepare", "execute", "fetch", "payload"])
@pytest.mark.parametrize("action", ["close", "rst", "garbage"])
def test_broken_answer_ends_one_run_and_no_more(simulator: Simulator, tmp_path: Path, step: str, action: str) -> None:
    """Whatever breaks at whatever step, the metric is polled again, the others are not affected, and no line is lost or doubled."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        before = run.latest()
        simulator.set_fault("show_locks", step=step, action=action, times=1)

        failed = run.wait_for("poll", after=before, target="show_locks", status="error")

        run.wait_for_polls("show_locks", after=failed["seq"])
        assert "\n" not in failed["error"]
        assert "\x1b" not in failed["error"]
        assert all(not run.events("worker_exit", target=other) for other in OTHERS)
        assert all(not run.events("poll", target=other, status="skipped") for other in OTHERS)
        assert run.end() == 0


def test_metric_that_hangs_for_ever_never_delays_another(simulator: Simulator, tmp_path: Path) -> None:
    """A metric that hangs is reported within its deadline and five seconds, and the others begin within 50 ms of their ticks."""
    metrics = {**QUICK, "show_locks": {"interval": 0.5, "timeout": 1}}
    with service(simulator.port, tmp_path / "logs", metrics=metrics) as run:
        run.wait_for_polls(*QUICK)
        before = run.latest()
        simulator.set_fault("show_locks", step="fetch", action="hang")
        began = time.monotonic()

        run.wait_for("poll", after=before, target="show_locks", status="timeout")

        assert time.monotonic() - began < 1 + BACK_SECONDS + 1
        wait_until(lambda: len(run.events("poll", after=before, target="show_locks", status="timeout")) == 3)
        late = sorted(poll["late_ms"] for poll in run.events("poll", after=before, status="ok"))
        assert late[int(len(late) * 0.99)] < LATE_MS
        exits = run.events("worker_exit", after=before, target="show_locks")
        assert all(end["restart_in_s"] >= 0.7 for end in exits)
        assert exits[-1]["restart_in_s"] > exits[0]["restart_in_s"]


def test_frozen_server_is_noticed_and_polled_again_when_it_thaws(server_process: tuple[subprocess.Popen[str], int], tmp_path: Path) -> None:
    """When the server is stopped every metric times out, and all are polled again when it continues."""
    metrics = {name: {"interval": interval, "timeout": 1} for name, interval in QUICK.items()}
    server, port = server_process
    with service(port, tmp_path / "logs", metrics=metrics) as run:
        run.wait_for_polls(*QUICK)
        server.send_signal(signal.SIGSTOP)
        for metric in QUICK:
            run.wait_for("poll", target=metric, status="timeout")

        server.send_signal(signal.SIGCONT)

        thawed = run.latest()
        run.wait_for_polls(*QUICK, after=thawed)
        assert all(len(gaps(run, metric)) == 1 for metric in QUICK)
        assert run.end() == 0


def test_database_that_is_down_is_asked_by_one_at_a_time(simulator: Simulator, tmp_path: Path) -> None:
    """While the database is down there is one attempt every few seconds in all, and every metric is back in time."""
    metrics = {f"m{number}": {"interval": 0.5, "query": "select show_cluster_nodes()"} for number in range(20)}
    with service(simulator.port, tmp_path / "logs", metrics=metrics) as run:
        run.wait_for_polls(*metrics)
        simulator.set_fault("*", step="connect", action="refuse")
        before = run.latest()
        simulator.stop_worker()
        down = time.monotonic()
        wait_until(lambda: time.monotonic() - down > 6)
        knocks = [end for end in run.events("worker_exit", after=before) if "refused" in end["reason"]]
        simulator.start_worker()
        simulator.clear_faults()
        up, back = time.monotonic(), run.latest()

        run.wait_for_polls(*metrics, after=back, count=1)

        assert time.monotonic() - up < 0.5 + BACK_SECONDS + 3  # three seconds for a busy machine to start twenty processes
        # At the moment of the loss some may already have been on their way; from then on it is one each second or less often.
        assert 2 <= len(knocks) <= 12
        assert all(len(gaps(run, metric)) == 1 for metric in metrics)
        assert run.end() == 0


def test_wrong_password_of_twenty_metrics_is_one_failed_login(simulator: Simulator, tmp_path: Path) -> None:
    """After the password was changed, twenty metrics that lose their connection cost one refused login."""
    metrics = {f"m{number}": {"interval": 0.5, "query": "select show_cluster_nodes()"} for number in range(20)}
    with service(simulator.port, tmp_path / "logs", metrics=metrics) as run:
        run.wait_for_polls(*metrics)
        simulator.set_password("new")
        simulator.stop_worker()
        simulator.start_worker()

        paused = run.wait_for("login_paused")
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - began > 4)

        assert "wrong password" in paused["reason"]
        assert simulator.stats()["failed_logins"] == 1
        assert len(run.events("login_paused")) == 1
        assert run.end() == 0


SIGNALS = [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGALRM, signal.SIGPIPE]


@pytest.mark.parametrize("number", SIGNALS)
def test_child_that_is_killed_by_any_signal_is_replaced(simulator: Simulator, tmp_path: Path, number: signal.Signals) -> None:
    """The signal that ended a worker is named, and a new one polls within two seconds; a harmless signal does nothing."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        before, pid = run.latest(), run.worker("show_locks")

        os.kill(pid, number)

        if number == signal.SIGPIPE:  # Python ignores it
            run.wait_for_polls("show_locks", after=before)
            assert pid == run.worker("show_locks")
            return
        end = run.wait_for("worker_exit", after=before, target="show_locks")
        assert (number.name in end["reason"]) or number == signal.SIGTERM
        assert run.wait_for("worker_start", after=end["seq"], target="show_locks")
        run.wait_for_polls("show_locks", after=end["seq"])
        assert all(not run.events("worker_exit", target=other) for other in OTHERS)


def test_crash_loop_backs_off_and_floods_nothing(simulator: Simulator, tmp_path: Path) -> None:
    """Each exit of a worker that is killed at once is one event, the waits grow, and the supervisor uses little time."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        killed: set[int] = set()
        began = time.monotonic()
        while len(killed) < 4:
            pid = run.worker("show_locks")
            if pid not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            wait_until(lambda: len(run.events("worker_exit", target="show_locks")) == len(killed))
            if len(killed) < 4:
                wait_until(lambda: run.worker("show_locks") not in killed)

        exits = run.events("worker_exit", target="show_locks")
        assert time.monotonic() - began > 0.75 + 1.5 + 3
        assert sorted(killed) == sorted(end["pid"] for end in exits)
        for end, longest in zip(exits, (1, 2, 4, 8)):
            assert 0.7 * longest <= end["restart_in_s"] <= longest


def test_children_killed_at_random_leave_nothing_behind(simulator: Simulator, tmp_path: Path) -> None:
    """After many kills the supervisor has the descriptors it had before, no zombie and no orphan, and every exit is an event."""
    dice = random.Random(4)
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        run.worker("lifetimes")
        fds = len(list(Path(f"/proc/{run.pid}/fd").iterdir()))
        killed = 0
        end = time.monotonic() + 6
        while time.monotonic() < end:
            pid = run.worker(dice.choice(sorted(QUICK)))
            ends = len(run.events("worker_exit"))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed += 1
            wait_until(lambda: len(run.events("worker_exit")) > ends, 10)  # noqa: B023 - called at once

        run.wait_for_polls(*QUICK)
        assert killed >= 5
        assert killed == len(run.events("worker_exit"))
        assert fds == len(list(Path(f"/proc/{run.pid}/fd").iterdir()))
        # The supervisor, the forkserver, a worker per metric, the process of lifetimes, and nobody who waits to be reaped.
        assert len(session_processes(run.pid)) == 3 + len(QUICK)
        assert all(" Z " not in Path(f"/proc/{pid}/stat").read_text("utf-8") for pid in session_processes(run.pid))
        seen = {(record["run_id"], record["seq"]) for metric in QUICK for record in run.records(metric)}
        assert len(seen) == sum(len(run.records(metric)) for metric in QUICK) or run.process.poll() is None


def test_worker_out_of_memory_is_a_failed_run(simulator: Simulator, tmp_path: Path) -> None:
    """A poll that doesn't fit into memory ends its worker, and the next one, with more room, polls it."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        before, pid = run.latest(), run.worker("show_locks")
        used = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (used + (8 << 20), used + (8 << 20)))
        simulator.set_rows({"show_locks": 30_000})

        end = run.wait_for("worker_exit", after=before, target="show_locks")

        # Where not even the words for it fit, the exit code is all that is left.
        assert "MemoryError" in end["reason"] or end["exit_code"] == 1
        run.wait_for_polls("show_locks", after=end["seq"], count=1)
        assert all(not run.events("worker_exit", target=other) for other in OTHERS)


def test_forkserver_that_is_killed_is_replaced(simulator: Simulator, tmp_path: Path) -> None:
    """When the forkserver is killed its children live on or are replaced, and later ones come from a new forkserver."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        forkserver = run.forkserver()

        os.kill(forkserver, signal.SIGKILL)
        os.kill(run.worker("show_locks"), signal.SIGKILL)

        before = run.latest()
        run.wait_for("worker_start", after=before, target="show_locks")
        run.wait_for_polls(*QUICK, after=before)
        assert run.end() == 0


class Liar:
    """A server that answers as it should for a while, and then sends random bytes."""

    def __init__(self, seed: int, upstream: int) -> None:
        self._dice = random.Random(seed)
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.lies = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """Pass bytes in both directions, and change an answer now and then."""
        with client, socket.create_connection(("127.0.0.1", self._upstream)) as server:
            threading.Thread(target=self._copy, args=(client, server), daemon=True).start()
            with contextlib.suppress(OSError):
                while answer := bytearray(server.recv(65536)):
                    if self._dice.random() < 0.1:
                        self.lies += 1
                        self._change(answer)
                    client.sendall(answer)

    def _change(self, answer: bytearray) -> None:
        for _ in range(self._dice.randrange(1, 9)):
            answer[self._dice.randrange(len(answer))] = self._dice.randrange(256)
        if self._dice.random() < 0.3:
            del answer[self._dice.randrange(len(answer)) :]

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)


@pytest.mark.parametrize("seed", range(3))
def test_malformed_frames_may_end_workers_but_never_the_supervisor(simulator: Simulator, tmp_path: Path, seed: int) -> None:
    """Random bytes in answers end at most a worker, every line that is written is valid, and afterwards all metrics are polled."""
    liar = Liar(seed, simulator.port)
    metrics = {name: {"interval": 0.1, "timeout": 1} for name in QUICK}
    try:
        with service(simulator.port, tmp_path / "logs", metrics=metrics) as run:
            run.wait_for_polls(*QUICK)
        with service(liar.port, tmp_path / "lies", "--startup_timeout", "60", "--allow_gpu", metrics=metrics) as run:
            began = time.monotonic()
            wait_until(lambda: run.process.poll() is not None or time.monotonic() - began > 6)
            if run.process.poll() is not None:
                # A lie during the start-up checks is a failed check, in one line.
                assert run.process.returncode == 1
                assert run.stderr.splitlines()[-1].startswith("sqmon: check_")
                return
            assert run.end() == 0
            for metric in QUICK:
                seqs = [(record["run_id"], record["seq"]) for record in run.records(metric)]
                assert len(set(seqs)) == len(seqs)
            assert all("Traceback" not in json.dumps(end) for end in run.events("worker_exit"))
    finally:
        liar.close()
    assert liar.lies


def test_old_segments_are_deleted_with_an_event(simulator: Simulator, tmp_path: Path) -> None:
    """Segments that are too old are deleted at the start; young ones and other files stay."""
    directory = tmp_path / "logs" / "show_locks"
    directory.mkdir(parents=True)
    old, young, foreign = (directory / name for name in ("show_locks-20200101T000000.000000Z-000001.jsonl", "x", "notes.jsonl"))
    young = directory / "show_locks-20200102T000000.000000Z-000002.jsonl"
    for path in (old, young, foreign):
        path.write_text("{}\n", "utf-8")
    os.utime(old, (1_577_836_800, 1_577_836_800))
    os.utime(foreign, (1_577_836_800, 1_577_836_800))
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        event = run.wait_for("segment_deleted")

    assert (event["file"], event["reason"]) == ("show_locks/show_locks-20200101T000000.000000Z-000001.jsonl", "age")
    assert (old.exists(), young.exists(), foreign.exists()) == (False, True, True)


def test_error_text_without_end_is_cut_and_told(simulator: Simulator, tmp_path: Path) -> None:
    """An error text of a megabyte costs one run, and is told in a line of bounded length."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        before = run.latest()
        simulator.set_fault("show_locks", step="execute", action="error", text="out of luck " * 80_000, times=1)

        failed = run.wait_for("poll", after=before, target="show_locks", status="error")

        assert "out of luck out of luck" in failed["error"]
        assert len(failed["error"]) < 1200
        run.wait_for_polls("show_locks", after=failed["seq"])
        assert run.end() == 0
