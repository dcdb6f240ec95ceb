"""The standard streams of a service: nobody has to read its log, and none of them has to be open."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import termios
from pathlib import Path
from typing import Iterator

import pytest

from sqmon.simulator import Simulator
from sqmon.storage.reader import segments
from tests.support.program import STOP_SECONDS, Service, command, environment, kill_session, metrics_file, wait_until

METRICS = {f"locks_{number}": {"interval": 0.05, "query": "select show_locks();"} for number in range(10)}
SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)  # named from Python 3.10 on
LEFT_OUT = b'"log_lines_left_out": '


@contextlib.contextmanager
def running(port: int, place: Path, stderr: int, *, closed: str = "") -> Iterator[Service]:
    """Run a service that logs every poll to `stderr`, with the shell's redirections `closed`."""
    words = command("run", "--host", "127.0.0.1", "--port", str(port), "--log_dir", "lines", "--log_level", "debug")
    words += ["--metrics_file", str(metrics_file(place, METRICS)), "--loki_port", "1"]
    words = ["sh", "-c", f'exec "$@" {closed}', "sh", *words]
    log = place / "unread"
    log.touch()
    process = subprocess.Popen(words, cwd=place, env=environment(), stdin=subprocess.DEVNULL, stderr=stderr, start_new_session=True)
    try:
        yield Service(process, place / "lines", log, ())
    finally:
        kill_session(process.pid)
        process.wait()


def waiting(reader: int) -> int:
    """Return how many bytes are waiting to be read."""
    size = array.array("i", [0])
    fcntl.ioctl(reader, termios.FIONREAD, size)
    return size[0]


@pytest.fixture
def unread() -> Iterator[tuple[int, int]]:
    """A small pipe, as its reading and its writing end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    fcntl.fcntl(writer, SET_PIPE_SIZE, 4096)
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(end)


@pytest.mark.parametrize("blocking", [True, False])
def test_log_that_nobody_reads_stops_nothing(tmp_path: Path, unread: tuple[int, int], blocking: bool) -> None:
    """Polling continues while nobody reads the log; a later reader sees whole lines, and how many were left out."""
    reader, writer = unread
    os.set_blocking(writer, blocking)
    with Simulator() as simulator, running(simulator.port, tmp_path, writer) as service:
        wait_until(lambda: waiting(reader))
        # More lines than wait: so many polls, each of them one.
        service.wait_for_polls(*METRICS, count=150)
        fcntl.fcntl(writer, SET_PIPE_SIZE, 1 << 20)  # a reader that is quicker than the writer
        said = bytearray()

        def found(words: bytes = b"") -> bool:
            with contextlib.suppress(BlockingIOError):
                said.extend(os.read(reader, 65536))
            return words in said

        wait_until(lambda: found(LEFT_OUT))
        wait_until(lambda: found() and service.good_polls("locks_0", after=service.latest() - 1))
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: found() and service.process.poll() is not None)
        found()

    assert service.process.returncode == 0
    assert service.events("stop")
    assert all(json.loads(line)["event"] for line in said.splitlines())
    assert int(bytes(said).split(LEFT_OUT)[1].split(b"}")[0].split(b",")[0]) > 0


def test_stop_does_not_wait_for_a_reader(tmp_path: Path, unread: tuple[int, int]) -> None:
    """A service whose log is a full pipe stops with sealed segments and exit code 0."""
    reader, writer = unread
    with Simulator() as simulator, running(simulator.port, tmp_path, writer) as service:
        wait_until(lambda: waiting(reader))
        service.wait_for_polls(*METRICS, count=5)
        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(2 * STOP_SECONDS) == 0
        assert service.events("stop")


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_no_trouble(tmp_path: Path, closed: str) -> None:
    """A service that is started with closed streams, as some init scripts do, opens no file of its own under their numbers."""
    with Simulator(rows_locks=3) as simulator, running(simulator.port, tmp_path, subprocess.DEVNULL, closed=closed) as service:
        service.wait_for_polls("locks_0")
        opened = [Path(f"/proc/{pid}/fd/{number}").readlink() for pid in (service.pid, service.worker("locks_0")) for number in range(3)]
        service.process.send_signal(signal.SIGTERM)

        assert service.process.wait(2 * STOP_SECONDS) == 0
    assert opened[2::3] == [Path(os.devnull)] * 2
    assert not any((tmp_path / "lines") in path.parents for path in opened)
    assert segments(tmp_path / "lines", "locks_0")
