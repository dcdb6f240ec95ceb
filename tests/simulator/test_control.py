"""The control port: faults, passwords, rows and counters, one JSON object a line."""

from __future__ import annotations

import json
import socket
from typing import Any, Iterator

import pytest

from sqmon.simulator import Simulator
from tests.simulator.conftest import Clock
from tests.simulator.driver import ask, connect
from tests.simulator.wire import IO_SECONDS, LOGIN, Wire
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
        (b"[]", "one command of set, clear, set_password, .*, run, end, configure, restart, truth"),
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
        (b'{"run": {"seconds": 5}}', "run needs sql"),
        (b'{"run": {"sql": "select 1", "second": 5}}', "unknown key 'second' in run: one of sql, seconds, user"),
        (b'{"run": {"sql": "select 1", "seconds": "5"}}', 'seconds in run is a float, not "5"'),
        (b'{"run": {"sql": "select 1", "database": "e"}}', "unknown database 'e': one of master"),
        (b'{"end": 5}', '"end" takes the id of a statement as a string, not 5'),
        (b'{"end": "-1"}', "no statement -1 is under way"),
        (b'{"configure": {"contention": 2}}', "contention is a share from 0 to 1, not 2"),
        (b'{"configure": {"idle": 1}}', "idle in configure is a bool, not 1"),
        (b'{"configure": {"contention": true}}', "contention in configure is a float, not true"),
        (b'{"restart": 1}', '"restart" takes true'),
        (b'{"truth": false}', '"truth" takes true'),
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


def test_a_contention_seen_through_the_client(clock: Clock) -> None:
    """Through the real client: the holder's locks alone, the waiter without progress, then let in or gone, as ordered by command."""
    with Simulator(idle=True, clock=clock, control_port=0, server_version=None, version="4.10") as simulator:
        assert simulator.control_port is not None
        control = Control(simulator.control_port)
        cursor = connect(simulator.port).cursor()

        def statuses() -> dict[str, tuple[str, str]]:
            return {str(row[8]): (row[1][:4], row[11]) for row in ask(cursor, "select show_server_status()") if row[6] == "etl"}

        def held() -> dict[str, int]:
            return {row[0]: row[9] for row in ask(cursor, "select show_locks()")}

        update = {"sql": "update public.t set x = 1", "seconds": None}
        holder = control({"run": {**update, "orphan_seconds": 1}})["statement_id"]
        second = control({"run": update})["statement_id"]
        clock.seconds += 1
        third = control({"run": {**update, "user": "etl", "database": "master", "service": "sqream"}})["statement_id"]
        assert {holder: ("node", "Executing"), second: ("None", "Preparing"), third: ("None", "Preparing")} == statuses()
        assert {holder: 1} == held()

        assert control({"end": holder}) == {"ok": True}
        assert {holder: 0} == held()
        clock.seconds += 1
        assert {second: 1} == held()
        clock.seconds += 2
        assert {second: ("node", "Executing")} == statuses()

        told = control({"truth": True})
        assert told == simulator.truth()
        waits = [(wait["statement_id"], wait["blocked_by"], wait["outcome"]) for wait in told["waits"]]
        assert [(second, [holder], "let_in"), (third, [holder, second], "timed_out")] == waits
        assert {"locks", "statements", "waits", "outages", "restarts", "forgotten"} == told.keys()
        assert {"statement_id", "locked_object", "lock_mode", "began_ns", "ended_ns"} == told["locks"][0].keys()
        control.close()


def test_a_restart_forgets_a_statement_on_its_way_to_another_worker() -> None:
    """A statement that was to move when the server restarted is unknown where it arrives."""
    with Simulator(reconnect=True) as simulator:
        with Wire(simulator.port) as first:
            number = first.login()
            statement = first.ask({"getStatementId": "getStatementId"})["statementId"]
            port = first.ask({"prepareStatement": "select show_connections()"})["port"]
            simulator.restart()
        with Wire(port) as second:
            second.ask({**LOGIN, "reconnectDatabase": "master", "connectionId": number})

            assert "Could not reconstruct" in second.ask({"reconstructStatement": statement})["error"]


@pytest.mark.parametrize("version", ["4.6", "4.10"])
def test_an_orphan_has_its_column_where_the_generation_has_it(clock: Clock, version: str) -> None:
    """A lock whose statement is gone is listed by every generation, and marked by those that have the column."""
    with Simulator(idle=True, clock=clock, server_version=None, version=version) as simulator:
        cursor = connect(simulator.port).cursor()
        orphan = simulator.run("drop table t", seconds=1, orphan_seconds=60)
        clock.seconds += 2

        assert orphan not in [str(row[8]) for row in ask(cursor, "select show_server_status()")]
        found = ask(cursor, "select show_locks()")
        assert [orphan] * 5 == [row[0] for row in found]
        assert ([] if version == "4.6" else [0]) * 5 == [value for row in found for value in row[9:10]]


def test_a_restart_cuts_sessions_and_begins_anew(simulator: Simulator, control: Control) -> None:
    """After a restart the old session is cut, a new login works, and its statement has the id that follows the users' first ones."""
    with Wire(simulator.port) as wire:
        wire.login()
        assert control({"configure": {"idle": True}}) == {"ok": True}
        assert control({"restart": True}) == {"ok": True}
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.frame()
    wait_until(lambda: control({"stats": True})["sessions"] == 0)
    assert control({"run": {"sql": "select 1"}}) == {"statement_id": "0"}

    assert ask(connect(simulator.port).cursor(), "select show_server_status()")[-1][8] == 1
