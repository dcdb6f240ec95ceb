"""The control port: faults, passwords, rows and counters, one JSON object a line."""

from __future__ import annotations

import json
import socket
from typing import Any, Iterator

import pytest

from sqmon.simulator import Simulator
from tests.simulator.driver import ask, connect
from tests.simulator.wire import IO_SECONDS, Wire
from tests.support.program import wait_until


class Control:
    """A client of the control port."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=IO_SECONDS)
        self.lines = self.socket.makefile("rwb")

    def send(self, line: bytes) -> dict[str, Any]:
        """Send a line and return its answer."""
        self.lines.write(line + b"\n")
        self.lines.flush()
        answer: dict[str, Any] = json.loads(self.lines.readline())
        return answer

    def __call__(self, command: Any) -> dict[str, Any]:
        """Send a command and return its answer."""
        return self.send(json.dumps(command).encode())

    def close(self) -> None:
        """Close the connection."""
        self.lines.close()
        self.socket.close()


@pytest.fixture
def control(simulator: Simulator) -> Iterator[Control]:
    """A connection to the simulator's control port."""
    assert simulator.control_port is not None
    client = Control(simulator.control_port)
    yield client
    client.close()


def test_a_fault_is_set_and_cleared(simulator: Simulator, control: Control) -> None:
    """A fault is in force as soon as its command is answered, until it is cleared."""
    assert control({"set": {"function": "show_locks", "step": "prepare", "action": "error", "text": "broken"}}) == {"ok": True}
    with Wire(simulator.port) as wire:
        wire.login()
        assert wire.prepare("select show_locks()") == {"error": "broken"}
        assert control({"clear": True}) == {"ok": True}
        wire.run("select show_locks()")


def test_every_field_of_a_fault_is_understood(simulator: Simulator, control: Control) -> None:
    """Seconds may be whole or not, and `times` counts."""
    assert control({"set": {"step": "execute", "action": "slow", "seconds": 0, "times": 1}}) == {"ok": True}
    assert control({"set": {"step": "fetch", "action": "slow", "seconds": 0.01}}) == {"ok": True}
    assert len(ask(connect(simulator.port).cursor(), "select show_cluster_nodes()")) == 4


def test_the_password_changes(simulator: Simulator, control: Control) -> None:
    """A new password holds for every later login."""
    assert control({"set_password": "new"}) == {"ok": True}
    connect(simulator.port, password="new").close()


def test_rows_change_and_live_again(simulator: Simulator, control: Control) -> None:
    """A function answers any number of rows, and null brings back the living cluster."""
    cursor = connect(simulator.port).cursor()
    for function, count in (("show_locks", 1000), ("show_locks", 0), ("show_cluster_nodes", 9), ("show_server_status", 40)):
        assert control({"set_rows": {function: count}}) == {"ok": True}
        assert count == len(ask(cursor, f"select {function}()"))
    assert control({"set_rows": {"show_cluster_nodes": None}}) == {"ok": True}
    assert len(ask(cursor, "select show_cluster_nodes()")) == 4


def test_stats_have_exactly_these_keys(simulator: Simulator, control: Control) -> None:
    """The counters have exactly these keys, which tests and benchmarks read."""
    with Wire(simulator.port) as wire:
        wire.login()
        wire.run("select get_license_info()")
        wire.ask({"fetch": "fetch"})
        wire.frame()

        expected = {
            "logins": 1,
            "failed_logins": 0,
            "sessions": 1,
            "max_sessions": 1,
            "statements": {"get_license_info": 1},
            "rows_served": {"get_license_info": 1},
        }
        assert expected == control({"stats": True}) == simulator.stats()
    wait_until(lambda: control({"stats": True})["sessions"] == 0)


def test_the_worker_goes_and_comes_back(simulator: Simulator, control: Control) -> None:
    """While the worker is stopped sessions end, connections are refused, and the picker continues."""
    with Wire(simulator.port) as wire:
        wire.login()
        assert control({"stop_worker": True}) == {"ok": True}
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.frame()
    with pytest.raises(ConnectionRefusedError):
        connect(simulator.picker_port, clustered=True)
    assert control({"start_worker": True}) == {"ok": True}
    connect(simulator.picker_port, clustered=True).close()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"clear", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "one command of set, clear, set_password, set_rows, stats, stop_worker, start_worker"),
        (b'{"clear": true, "stats": true}', "one command of"),
        (b'{"reset": true}', "unknown command 'reset'"),
        (b'{"clear": 1}', '"clear" takes true'),
        (b'{"set_password": 5}', "takes a string, not 5"),
        (b'{"set_rows": {"show_lock": 1}}', "unknown function 'show_lock': one of .*show_locks"),
        (b'{"set_rows": {"show_locks": -1}}', "0 or more"),
        (b'{"set_rows": {"show_locks": true}}', "0 or more"),
        (b'{"set_rows": 3}', "takes an object"),
        (b'{"set": []}', "takes an object"),
        (b'{"set": {"action": "hang"}}', "set needs step"),
        (b'{"set": {"step": "fetch"}}', "set needs action"),
        (b'{"set": {"step": "parse", "action": "hang"}}', "unknown step 'parse': one of connect, login, prepare"),
        (b'{"set": {"step": "fetch", "action": "hang", "time": 2}}', "unknown key 'time' in set: one of function"),
        (b'{"set": {"step": "fetch", "action": "hang", "times": 1.5}}', "times in set is a int, not 1.5"),
        (b'{"set": {"step": "fetch", "action": "hang", "times": true}}', "times in set is a int, not true"),
    ],
)
def test_a_bad_command_answers_what_is_wrong_and_allowed(control: Control, line: bytes, text: str) -> None:
    """A bad command is answered with what is wrong and what is allowed, and the next command works."""
    with pytest.raises(ValueError, match=text):
        raise ValueError(control.send(line)["error"])
    assert "logins" in control({"stats": True})


def test_a_line_without_end_is_cut_off(control: Control) -> None:
    """A line without an end is cut off."""
    assert control.send(b"x" * 70_000) == {"error": "the line is too long"}


def test_the_python_api_ends_with_the_simulator(simulator: Simulator) -> None:
    """A call after the end fails at once, and a second stop does nothing."""
    simulator.stop()
    simulator.stop()
    with pytest.raises(RuntimeError, match="not running"):
        simulator.stats()


def test_bad_settings_are_refused() -> None:
    """Bad settings are refused before anything listens."""
    with pytest.raises(ValueError, match=r"unknown version '5': one of 2019, 2024-05, 4\.6, 4\.7, 4\.10"):
        Simulator(version="5")
    with pytest.raises(ValueError, match="needs tls_port"):
        Simulator(picker_tls_port=0)
