"""The forkserver with real processes, which run the real start-up checks."""

from __future__ import annotations

import errno
import os
import resource
import selectors
import signal
import socket
import time
from pathlib import Path
from typing import Iterator

import pytest

from sqmon.clock import SystemClock
from sqmon.config.settings import Connection
from sqmon.ipc.check import AskDatabase, AskLoki, decode
from sqmon.ipc.start import PROBE
from sqmon.supervisor.forkserver import Forkserver, Process
from tests.support.clocks import FakeClock
from tests.support.program import wait_until

NOBODY = AskLoki("127.0.0.1", 1)


class Harness:
    """A forkserver, and what was lost of it."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.lost: list[str] = []
        self.selector = selectors.DefaultSelector()
        self.forkserver = Forkserver(self.selector, clock=clock, on_lost=self.lost.append)

    @property
    def server(self) -> int:
        """The process id of the forkserver."""
        (pid,) = [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split() if is_forkserver(pid)]
        return pid

    def until(self, process: Process, what: str) -> None:
        """Hear the forkserver until it has said this of the process."""

        def said() -> bool:
            self.forkserver.look_after(self.clock.monotonic())
            return getattr(process, what) not in (None, "")

        wait_until(said)


def is_forkserver(pid: str) -> bool:
    """Return whether the process was started as a forkserver and is no zombie."""
    return b"sqmon.worker.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()


def is_zombie(pid: int) -> bool:
    """Return whether the process has ended, its descriptors closed, and only waits to be reaped."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"


def descriptors(pid: str) -> int:
    """Return how many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.fixture
def harness() -> Iterator[Harness]:
    """A harness whose forkserver is gone afterwards."""
    harness = Harness(FakeClock())
    yield harness
    harness.forkserver.close()
    harness.selector.close()


def test_process_runs_tells_and_ends(harness: Harness) -> None:
    """A process reports over its pipe, and the forkserver tells how it ended."""
    process = harness.forkserver.start(PROBE, NOBODY)

    assert decode(process.pipe.recv(1 << 16)).name == "check_loki_connection"
    assert process.pipe.recv(1 << 16) == b""
    harness.until(process, "code")
    assert process.code == 0
    process.close()


def test_want_of_descriptors_fails_the_start_alone(harness: Harness) -> None:
    """A forkserver that may open nothing more says so, lives, and starts processes again as soon as it may."""
    first = harness.forkserver.start(PROBE, NOBODY)
    harness.until(first, "code")
    server = harness.server
    limits = resource.prlimit(server, resource.RLIMIT_NOFILE)
    resource.prlimit(server, resource.RLIMIT_NOFILE, (0, limits[1]))
    refused = harness.forkserver.start(PROBE, NOBODY)
    harness.until(refused, "error")
    resource.prlimit(server, resource.RLIMIT_NOFILE, limits)
    second = harness.forkserver.start(PROBE, NOBODY)
    harness.until(second, "code")

    assert (os.strerror(errno.EMFILE), 0, server, []) == (refused.error, second.code, harness.server, harness.lost)
    for process in (first, refused, second):
        process.close()


def test_start_that_fails_leaves_nothing_open(harness: Harness) -> None:
    """A supervisor without free descriptors gets an OSError, whichever of them was the last, and keeps none of the others."""
    first = harness.forkserver.start(PROBE, NOBODY)
    harness.until(first, "code")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    before = descriptors("self")
    for free in range(5):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + free, limits[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                harness.forkserver.start(PROBE, NOBODY)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert before == descriptors("self")
    first.close()


def test_arguments_of_any_size_arrive(harness: Harness) -> None:
    """Arguments arrive even if they are longer than a message over a socket."""
    to = Connection("127.0.0.1", 1, "master", "x" * 1_000_000, "monitor")
    process = harness.forkserver.start(PROBE, AskDatabase(to, allow_gpu=False))

    assert "the connection was refused" in decode(process.pipe.recv(1 << 16)).text
    process.close()


def test_start_does_not_wait_for_a_stopped_forkserver(harness: Harness) -> None:
    """Orders to a stopped forkserver are taken at once; without an answer in time it is replaced, and they have failed."""
    first = harness.forkserver.start(PROBE, NOBODY)
    harness.until(first, "code")
    stopped = harness.server
    os.kill(stopped, signal.SIGSTOP)
    began = time.monotonic()

    orders = [harness.forkserver.start(PROBE, NOBODY) for _ in range(16)]

    assert time.monotonic() - began < 1
    assert (harness.forkserver.busy, harness.lost) == (True, [])
    for seconds in (9, 2):
        harness.forkserver.look_after(harness.clock.monotonic())
        assert harness.lost == []
        harness.clock.advance(seconds)
    harness.forkserver.look_after(harness.clock.monotonic())
    assert (harness.forkserver.busy, harness.lost) == (False, ["it did not answer for 11 s, killed"])
    assert {order.error for order in orders} == {"the forkserver is gone: it did not answer for 11 s, killed"}
    assert all(order.pipe.recv(1) == b"" for order in orders)
    after = harness.forkserver.start(PROBE, NOBODY)
    harness.until(after, "code")
    assert after.code == 0
    for process in (first, *orders, after):
        process.close()


def test_time_that_was_slept_through_does_not_count(harness: Harness) -> None:
    """A supervisor that was stopped for a minute doesn't blame the forkserver."""
    process = harness.forkserver.start(PROBE, NOBODY)
    harness.clock.advance(60)
    harness.forkserver.forgive(60)
    harness.until(process, "code")

    assert harness.lost == []
    process.close()


def test_killed_forkserver_is_replaced_by_the_next_order(harness: Harness) -> None:
    """A killed forkserver is replaced by the next order, even before its end is known."""
    first = harness.forkserver.start(PROBE, NOBODY)
    harness.until(first, "code")
    server = harness.server
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: is_zombie(server))

    second = harness.forkserver.start(PROBE, NOBODY)

    harness.until(second, "pid")
    harness.until(second, "code")
    assert (harness.lost, second.code) == (["it ended"], 0)
    first.close()
    second.close()


def test_closed_lifeline_ends_a_process_that_is_stopped(harness: Harness) -> None:
    """A stopped process ends when its lifeline is closed."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = harness.forkserver.start(PROBE, AskLoki(*silent.getsockname()))
        harness.until(process, "pid")
        process.signal(signal.SIGSTOP)

        process.kill()

        assert process.pipe.recv(1) == b""
        harness.until(process, "code")
        assert process.code in (-signal.SIGKILL, 1)  # 1: it had not even begun
        process.close()


def test_nothing_is_left_open(harness: Harness) -> None:
    """After many processes there are as many descriptors as before."""
    warm = harness.forkserver.start(PROBE, NOBODY)
    harness.until(warm, "code")
    warm.close()
    before = descriptors("self")
    for _ in range(20):
        process = harness.forkserver.start(PROBE, NOBODY)
        harness.until(process, "code")
        process.close()

    assert before == descriptors("self")
    assert descriptors(str(harness.server)) < 15


def test_forkserver_ends_with_the_supervisor() -> None:
    """The forkserver ends when the supervisor does."""
    forkserver = Forkserver(selectors.DefaultSelector(), clock=SystemClock(), on_lost=lambda _: None)
    process = forkserver.start(PROBE, NOBODY)
    process.close()
    forkserver.close()

    assert not any(is_forkserver(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split())
