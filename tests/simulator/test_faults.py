"""Every way to fail, at every step, seen from the client's socket."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from sqmon.simulator import Column, Simulator
from sqmon.simulator.faults import Fault, Faults
from tests.simulator.driver import ask, connect
from tests.simulator.wire import LOGIN, Wire
from tests.support.program import wait_until

STATEMENT = "select show_cluster_nodes()"
STEPS = ("login", "prepare", "execute", "fetch")
QUIET_SECONDS = 0.05
# Longer than the quiet that is waited for, short enough for a test.
SLOW_SECONDS = 0.15


def reach(wire: Wire, step: str) -> None:
    """Send everything up to and including the request of this step, and read all answers but the last."""
    if step == "login":
        wire.send(LOGIN)
        return
    wire.login()
    wire.ask({"getStatementId": "getStatementId"})
    requests: list[dict[str, Any]] = [{"prepareStatement": STATEMENT}, {"execute": "execute"}, {"fetch": "fetch"}]
    for request in requests[: STEPS.index(step) - 1]:
        wire.ask(request)
    wire.send(requests[STEPS.index(step) - 1])


@pytest.mark.parametrize("step", STEPS)
def test_hang(simulator: Simulator, step: str) -> None:
    """A hanging step answers nothing, still reads pings, and ends at once with the simulator."""
    simulator.set_fault(step=step, action="hang")
    with Wire(simulator.port) as wire:
        reach(wire, step)
        wire.send({"ping": "ping"})
        assert wire.silent(QUIET_SECONDS)

        begun = time.monotonic()
        simulator.stop()
        assert time.monotonic() - begun < 1
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.frame()


@pytest.mark.parametrize("step", STEPS)
def test_close(simulator: Simulator, step: str) -> None:
    """`close` ends the connection in order."""
    simulator.set_fault(step=step, action="close")
    with Wire(simulator.port) as wire:
        reach(wire, step)

        assert wire.socket.recv(1) == b""


@pytest.mark.parametrize("step", STEPS)
def test_rst(simulator: Simulator, step: str) -> None:
    """`rst` resets the connection."""
    simulator.set_fault(step=step, action="rst")
    with Wire(simulator.port) as wire:
        reach(wire, step)

        assert wire.reset()


@pytest.mark.parametrize("step", STEPS)
def test_error(simulator: Simulator, step: str) -> None:
    """`error` answers with its text."""
    simulator.set_fault(step=step, action="error", text="no such luck")
    with Wire(simulator.port) as wire:
        reach(wire, step)

        assert json.loads(wire.frame()[2]) == {"error": "no such luck"}


@pytest.mark.parametrize("step", STEPS)
def test_slow(simulator: Simulator, step: str) -> None:
    """`slow` answers correctly after a while, with pings or without, and the conversation continues."""
    simulator.set_fault(step=step, action="slow", seconds=SLOW_SECONDS)
    with Wire(simulator.port) as wire:
        reach(wire, step)
        wire.send({"ping": "ping"})
        assert wire.silent(QUIET_SECONDS)

        assert "error" not in json.loads(wire.frame()[2])


@pytest.mark.parametrize("step", STEPS)
def test_garbage(simulator: Simulator, step: str) -> None:
    """`garbage` sends bytes that no client can take for an answer."""
    simulator.set_fault(step=step, action="garbage")
    with Wire(simulator.port) as wire:
        reach(wire, step)

        assert wire.exactly(64)[0] not in (6, 7, 8)


@pytest.mark.parametrize("action", ["hang", "close", "rst", "slow", "garbage", "error"])
def test_in_mid_payload(simulator: Simulator, action: str) -> None:
    """A fault in the payload acts after half of the binary frame, and an error takes the frame's place."""
    values = [(number, "x" * 50) for number in range(1000)]
    simulator.set_result("show_cluster_nodes", [Column("n", "int"), Column("t", "text")], values)
    simulator.set_fault(step="payload", action=action, seconds=SLOW_SECONDS if action == "slow" else None)
    with Wire(simulator.port) as wire:
        reach(wire, "fetch")
        size = 10 + sum(json.loads(wire.frame()[2])["colSzs"])
        if action == "error":
            assert json.loads(wire.frame()[2]) == {"error": "Internal Runtime Error"}
            return
        if action == "rst":
            assert wire.reset()
            return
        half = wire.exactly(size // 2)
        assert half[1] == 2
        if action == "close":
            assert wire.socket.recv(1) == b""
        elif action == "garbage":
            assert wire.exactly(size - len(half)) == b"\xff" * (size - len(half))
        else:
            assert wire.silent(QUIET_SECONDS)
        if action == "slow":
            assert wire.exactly(size - len(half)).endswith(b"x" * 50)
            assert wire.ask({"fetch": "fetch"}) == {"colSzs": [], "rows": 0}


@pytest.mark.parametrize("action", ["hang", "close", "error", "slow", "garbage"])
def test_on_connect(simulator: Simulator, action: str) -> None:
    """A fault at `connect` acts before the client has said anything."""
    simulator.set_fault(step="connect", action=action, seconds=SLOW_SECONDS if action == "slow" else None)
    with Wire(simulator.port) as wire:
        if action == "close":
            assert wire.socket.recv(1) == b""
        elif action == "error":
            assert json.loads(wire.frame()[2]) == {"error": "Internal Runtime Error"}
        elif action == "garbage":
            assert wire.exactly(64)[0] not in (6, 7, 8)
        else:
            wire.send(LOGIN)
            assert wire.silent(QUIET_SECONDS)
        if action == "slow":
            assert "connectionId" in json.loads(wire.frame()[2])


def test_rst_on_connect(simulator: Simulator) -> None:
    """A reset at `connect` reaches the client while it connects or at its first read."""
    simulator.set_fault(step="connect", action="rst")
    with pytest.raises(ConnectionResetError), Wire(simulator.port) as wire:
        wire.socket.recv(1)


def test_refuse_closes_the_listener_and_leaves_sessions(simulator: Simulator) -> None:
    """`refuse` closes the listener and leaves sessions, until it is cleared, and the port stays the same."""
    port = simulator.port
    with Wire(port) as wire:
        wire.login()
        simulator.set_fault(step="connect", action="refuse")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
        wire.run(STATEMENT)
        simulator.clear_faults()
        with Wire(port) as second:
            second.login()


def test_a_cleared_refusal_does_not_start_a_stopped_worker(simulator: Simulator) -> None:
    """A worker that was stopped stays so when a refusal is cleared."""
    simulator.set_fault(step="connect", action="refuse")
    simulator.stop_worker()
    simulator.clear_faults()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", simulator.port), timeout=1)
    simulator.start_worker()
    with Wire(simulator.port) as wire:
        wire.login()


def test_a_fault_of_one_function_spares_the_others(simulator: Simulator) -> None:
    """A fault of one function spares the others, and comes before one of all functions."""
    simulator.set_fault("show_locks", "execute", "error", text="locks")
    simulator.set_fault("*", "execute", "error", text="all", times=1)
    with Wire(simulator.port) as wire:
        wire.login()
        wire.prepare("select show_locks()")
        assert wire.ask({"execute": "execute"}) == {"error": "locks"}
        wire.prepare(STATEMENT)
        assert wire.ask({"execute": "execute"}) == {"error": "all"}
        wire.run(STATEMENT)


def test_times_counts_down(simulator: Simulator) -> None:
    """A fault with `times` ends after as many statements."""
    simulator.set_fault("show_cluster_nodes", "prepare", "error", times=2)
    with Wire(simulator.port) as wire:
        wire.login()

        assert ["error" in wire.prepare(STATEMENT) for _ in range(3)] == [True, True, False]


def test_statements_are_counted_when_they_arrive(simulator: Simulator) -> None:
    """A statement counts when it arrives, even if it hangs, and rows count when they are sent."""
    simulator.set_fault("show_cluster_nodes", "prepare", "hang")
    with Wire(simulator.port) as wire:
        reach(wire, "prepare")
        wait_until(lambda: simulator.stats()["statements"] == {"show_cluster_nodes": 1})

        assert simulator.stats()["rows_served"] == {}


def test_pings_during_a_slow_execute_and_requests_sent_ahead(simulator: Simulator) -> None:
    """Each request has one answer, in order, and pings have none."""
    simulator.set_fault(step="execute", action="slow", seconds=SLOW_SECONDS)
    with Wire(simulator.port) as wire:
        wire.send({"ping": "ping"})
        wire.login()
        wire.prepare(STATEMENT)
        for request in ("execute", "ping", "queryTypeIn", "ping"):
            wire.send({request: request})

        assert json.loads(wire.frame()[2]) == {"executed": "executed"}
        assert json.loads(wire.frame()[2]) == {"queryType": []}
        assert wire.silent(QUIET_SECONDS)


def test_a_client_that_leaves_while_it_hangs_is_forgotten(simulator: Simulator) -> None:
    """The session of a client that leaves is closed, even in the middle of a slow answer."""
    for action, seconds in (("hang", None), ("slow", SLOW_SECONDS)):
        simulator.set_fault(step="execute", action=action, seconds=seconds)
        with Wire(simulator.port) as wire:
            reach(wire, "execute")
            wait_until(lambda: simulator.stats()["sessions"] == 1)
        wait_until(lambda: simulator.stats()["sessions"] == 0)


def test_a_hanging_statement_is_a_running_one(simulator: Simulator) -> None:
    """A hanging statement is in show_server_status from its execution to its end."""
    simulator.set_fault("show_cluster_nodes", "fetch", "hang")
    with Wire(simulator.port) as wire:
        reach(wire, "fetch")
        cursor = connect(simulator.port).cursor()
        assert STATEMENT in [row[9] for row in ask(cursor, "select show_server_status()")]
    wait_until(lambda: STATEMENT not in [row[9] for row in ask(cursor, "select show_server_status()")])


def test_requests_out_of_order_are_answered(simulator: Simulator) -> None:
    """Columns may be asked for before the execution, and what is not open may be closed, as old clients do."""
    with Wire(simulator.port) as wire:
        assert wire.ask({"getStatementId": "getStatementId"}) == {"error": "not connected to a database"}
        wire.login()
        assert wire.ask({"closeStatement": "closeStatement"}) == {"statementClosed": "statementClosed"}
        for request in ("execute", "queryTypeIn", "queryTypeOut", "fetch"):
            assert list(wire.ask({request: request})) == ["error"]
        wire.prepare(STATEMENT)
        assert len(wire.ask({"queryTypeOut": "queryTypeOut"})["queryTypeNamed"]) == 6
        assert list(wire.ask({"fetch": "fetch"})) == ["error"]
        assert list(wire.ask({"reconstructStatement": 1})) == ["error"]
        assert wire.ask({"surprise": 1, "a": 2}) == {"error": "unknown request with the keys ['a', 'surprise']"}


def test_a_moved_session_outlives_its_first_connection() -> None:
    """A session that moved lives on when its first connection ends."""
    with Simulator(reconnect=True) as simulator, Wire(simulator.port) as first:
        number = first.login()
        statement = first.ask({"getStatementId": "getStatementId"})["statementId"]
        port = first.ask({"prepareStatement": "select show_connections()"})["port"]
        with Wire(port) as second:
            login = {key: value for key, value in LOGIN.items() if key != "connectDatabase"}
            second.ask({**login, "reconnectDatabase": "master", "connectionId": number})
            first.socket.close()
            wait_until(lambda: simulator.stats()["sessions"] == 1)
            second.ask({"reconstructStatement": statement})
            second.ask({"execute": "execute"})

            assert second.ask({"fetch": "fetch"})["rows"] == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"step": "parse"}, "unknown step 'parse': one of connect, login"),
        ({"action": "explode"}, "unknown action 'explode': one of hang, close"),
        ({"function": "show_locks", "step": "login"}, "comes before any function"),
        ({"step": "fetch", "action": "refuse"}, "step connect only"),
        ({"step": "connect", "action": "refuse", "times": 1}, "without times"),
        ({"action": "slow"}, "slow needs seconds"),
        ({"times": 0}, "times is 1 or more"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(fields: dict[str, Any], text: str) -> None:
    """A senseless fault is refused with what is wrong and what is allowed."""
    with pytest.raises(ValueError, match=text):
        Fault(**fields)


def test_a_later_fault_replaces_an_earlier_one() -> None:
    """A later fault replaces an earlier one of the same function and step."""
    faults = Faults()
    faults.put(Fault(action="hang"))
    faults.put(Fault(action="close"))
    fault = faults.take("fetch", "show_locks")

    assert fault is not None
    assert fault.action == "close"
