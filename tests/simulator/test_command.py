"""The simulator as a process: what it prints, how it ends, and why it can't start."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.simulator.driver import ask, connect
from tests.simulator.wire import Wire
from tests.support import ROOT

COMMAND = (sys.executable, "-m", "sqmon.simulator")
END_SECONDS = 10


class Process:
    """A running simulator, and the ports that it printed."""

    def __init__(self, *options: str) -> None:
        self.popen = subprocess.Popen(
            [*COMMAND, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self.popen.stdout is not None
        self.lines = list(iter(lambda: self.popen.stdout.readline().strip() if self.popen.stdout else "", "ready"))
        self.ports = {line.split()[0]: int(line.rsplit(":", 1)[1]) for line in self.lines}

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.popen.kill()
        self.popen.communicate(timeout=END_SECONDS)

    def end(self, number: int) -> tuple[int, str]:
        """Send this signal; return exit code and stderr."""
        self.popen.send_signal(number)
        error = self.popen.communicate(timeout=END_SECONDS)[1]
        return self.popen.returncode, error


def failed(*options: str, **environment: str) -> str:
    """Return the line on stderr of a simulator that exits with 1."""
    done = subprocess.run(
        [*COMMAND, *options],
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal(number: int) -> None:
    """The simulator prints a line for each listener and `ready`, and exits with 0, even while a session is open."""
    options = ("--tls_port", "0", "--picker_port", "0", "--picker_tls_port", "0", "--control_port", "0")
    with Process(*options) as process, Wire(process.ports["worker"]) as wire:
        assert list(process.ports) == ["worker", "tls", "picker", "picker_tls", "control"]
        assert all(re.fullmatch(r"\w+ 127\.0\.0\.1:\d+", line) for line in process.lines)
        wire.login()

        assert process.end(number) == (0, "")


def test_options_reach_the_simulator() -> None:
    """Role, database, services, generation, GPU and rows are those of the options."""
    options = "--user u --password p --database d --database e --service etl --version 4.6 --gpu --rows_locks 12 --seed 3 --reconnect"
    with Process(*options.split()) as process:
        cursor = connect(process.ports["worker"], username="u", password="p", database="e", service="etl").cursor()

        assert len(ask(cursor, "select show_locks()")) == 12
        assert len(cursor.description) == 9
        assert ask(cursor, "select 1") == [(1,)]
        assert "second" in process.ports


def test_options_of_the_life_reach_the_simulator() -> None:
    """Contention, lock timeout, clock and idleness are those of the options, and a bad one is one clear line."""
    options = "--contention 1 --statement_lock_timeout 0 --clock_skew -5 --time_zone +05:30 --idle"
    with (
        Process(*options.split(), "--control_port", "0") as process,
        socket.create_connection(("127.0.0.1", process.ports["control"])) as to,
    ):
        to.sendall(b'{"run": {"sql": "update t", "seconds": null}}\n{"run": {"sql": "update t"}}\n{"truth": true}\n')
        lines = to.makefile()
        told = [json.loads(lines.readline()) for _ in range(3)][-1]
        assert ["timed_out"] == [wait["outcome"] for wait in told["waits"]]
        assert ["run", "run"] == [statement["source"] for statement in told["statements"]]
        own = ask(connect(process.ports["worker"]).cursor(), "select show_server_status()")[-1]
        ahead = datetime.fromisoformat(own[10]) - datetime.now(timezone.utc).replace(tzinfo=None)
        assert timedelta(hours=5, minutes=29, seconds=40) < ahead < timedelta(hours=5, minutes=29, seconds=56)

    assert "contention is a share from 0 to 1, not 2.0" in failed("--port", "0", "--contention", "2")
    assert "unknown time zone 'Mars'" in failed("--port", "0", "--time_zone", "Mars")


def test_other_addresses_and_the_control_port() -> None:
    """The workers listen where --host says, and the control port on loopback alone."""
    with Process("--host", "localhost", "--picker_port", "0") as process:
        assert all("127.0.0.1:" in line for line in process.lines)
        connect(process.ports["picker"], clustered=True).close()
    with Process("--host", "0.0.0.0", "--picker_port", "0", "--control_port", "0") as process:
        assert [line.split(":")[0] for line in process.lines] == ["worker 0.0.0.0", "picker 0.0.0.0", "control 127.0.0.1"]
        connect(process.ports["picker"], clustered=True).close()


def test_a_port_in_use_is_one_clear_line() -> None:
    """A port in use is one line that names it, and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        assert re.match(rf"simulator: .*127\.0\.0\.1.*{port}.*in use", failed("--port", port))


def test_a_port_out_of_range_is_one_clear_line() -> None:
    """A port out of range is one line and exit code 1."""
    assert "port" in failed("--port", "70000")


def test_tls_without_openssl_is_one_clear_line() -> None:
    """Without openssl, the line names the missing command and the way without TLS."""
    assert "needs the openssl command" in failed("--port", "0", "--tls_port", "0", PATH="/nowhere")


def test_tls_with_an_openssl_that_fails_is_one_clear_line(tmp_path: Path) -> None:
    """The last line of an openssl that fails is passed on."""
    command = tmp_path / "openssl"
    command.write_text("#!/bin/sh\necho first >&2\necho unable to write >&2\nexit 1\n")
    command.chmod(0o755)

    assert "could not make a certificate for the TLS port: unable to write" in failed("--port", "0", "--tls_port", "0", PATH=str(tmp_path))


def test_help_names_every_option() -> None:
    """The help names every option and exits with 0, and wrong usage exits with 2."""
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=END_SECONDS, check=True, cwd=ROOT).stdout
    options = """host port tls_port picker_port picker_tls_port control_port version gpu user password database service rows_locks
        seed reconnect contention statement_lock_timeout clock_skew time_zone idle"""
    assert set(re.findall(r"\w+", options)) | {"help"} == set(re.findall(r"--(\w+)", shown))
