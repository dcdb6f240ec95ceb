"""What the service manager is told over its socket."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from pathlib import Path
from typing import Iterator

import pytest

from sqmon.simulator import Simulator
from tests.support.program import QUICK, ended, service


@contextlib.contextmanager
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A datagram socket on which services report, as systemd has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messages:
        messages.bind(str(tmp_path / "notify"))
        messages.settimeout(30)
        yield messages


def heard_until(messages: socket.socket, wanted: str) -> list[str]:
    """Return the messages up to the first that begins with `wanted`; socket.timeout when it does not come."""
    heard: list[str] = []
    while not heard or not heard[-1].startswith(wanted):
        heard.append(messages.recv(4096).decode())
    return heard


def test_systemd_is_told_everything(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd hears READY after the checks, a status, signs of life, RELOADING and READY for SIGHUP, and STOPPING at the end."""
    with manager(tmp_path) as messages:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
            assert heard_until(messages, "READY=1") == ["READY=1"]
            heard_until(messages, "STATUS=2 of 2 metrics are well")
            heard_until(messages, "WATCHDOG=1")
            heard_until(messages, "WATCHDOG=1")
            os.kill(run.pid, signal.SIGHUP)
            reloading = heard_until(messages, "RELOADING=1")[-1]
            heard_until(messages, "READY=1")
            os.kill(run.pid, signal.SIGTERM)
            heard_until(messages, "STOPPING=1")
            assert run.process.wait() == 0

    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)


def test_failed_check_is_never_ready(tmp_path: Path) -> None:
    """A service that can't reach its database never reports READY."""
    with manager(tmp_path) as messages, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        words = ["--port", str(nobody.getsockname()[1]), "--startup_timeout", "0", "--log_dir", "logs", "--loki_port", "1"]
        result = ended("run", "--host", "127.0.0.1", *words, cwd=tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"))
        messages.setblocking(False)

        assert result.code == 1
        with pytest.raises(BlockingIOError):
            messages.recv(4096)


def test_database_that_is_waited_for_extends_the_start(tmp_path: Path) -> None:
    """systemd would end a start that takes longer than 90 s, so each attempt asks for more time."""
    with manager(tmp_path) as messages, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        words = ["--port", str(nobody.getsockname()[1]), "--startup_timeout", "5", "--log_dir", "logs", "--loki_port", "1"]
        ended("run", "--host", "127.0.0.1", *words, cwd=tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"))

        assert messages.recv(4096) == b"EXTEND_TIMEOUT_USEC=90000000"
