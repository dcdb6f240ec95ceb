"""The truth: it agrees with what the functions answered at each instant, and its memory is bounded."""

from __future__ import annotations

from typing import Any

import pytest

from sqmon.simulator import Simulator, truth
from sqmon.simulator.lock_rules import conflict, wanted
from sqmon.simulator.truth import Truth, nanoseconds
from tests.simulator.conftest import Clock
from tests.simulator.driver import ask, connect
from tests.simulator.test_cluster import live, rows
from tests.simulator.test_contention import cluster_of
from tests.simulator.wire import Wire
from tests.support.program import wait_until

Snapshot = dict[str, set[tuple[Any, ...]]]


def at(told: dict[str, Any], instant: int) -> Snapshot:
    """Return what the truth says of an instant, in the form of a Snapshot."""

    def alive(kind: str, *keys: str) -> set[tuple[Any, ...]]:
        spans = [span for span in told[kind] if span["began_ns"] <= instant and not (span["ended_ns"] or instant + 1) <= instant]
        return {tuple(span[key] for key in keys) for span in spans}

    return {
        "locks": alive("locks", "statement_id", "locked_object", "lock_mode"),
        "statements": alive("statements", "statement_id"),
        "waits": alive("waits", "statement_id"),
        "outages": alive("outages", "instance_id"),
    }


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_what_was_seen_at_each_instant(clock: Clock, seed: int) -> None:
    """At each of 2,400 polls the functions answered what the truth says afterwards, across outages, orphans and restarts."""
    cluster = cluster_of(clock, seed, contention=0.4)
    seen: list[tuple[int, Snapshot]] = []
    for number in range(2400):
        clock.seconds += 0.25
        cluster.advance()
        if number % 700 == 699:
            cluster.restart()
        if number % 500 == 250:
            cluster.take_down(cluster.nodes[1 + number % 3], 20)
        statuses = rows(cluster, "show_server_status")[:-1]
        # Statements are prepared in 0.4 s at most; what is still prepared then waits.
        waiting = {
            (str(row[8]),) for row in statuses if row[11] == "Preparing" and clock.seconds - cluster.statements[row[8]].started > 0.41
        }
        snapshot: Snapshot = {
            "locks": {(row[0], row[5], row[6]) for row in rows(cluster, "show_locks")},
            "statements": {(str(row[8]),) for row in statuses},
            "waits": waiting,
            "outages": {(node.instance,) for node in cluster.nodes if not node.up},
        }
        seen.append((nanoseconds(clock.seconds), snapshot))

    told = cluster.truth.as_dict()
    assert sum(bool(snapshot["waits"]) for _, snapshot in seen) > 100
    for instant, snapshot in seen:
        known = at(told, instant)
        assert snapshot["waits"] <= known.pop("waits")
        assert known == {kind: snapshot[kind] for kind in known}


def test_a_wait_names_exactly_those_in_its_way(clock: Clock) -> None:
    """`blocked_by` holds each statement whose lock conflicts with what the waiter wants during the wait, and no other."""
    cluster = cluster_of(clock, contention=0.3)
    texts = {}
    for _ in range(6000):
        clock.seconds += 0.1
        cluster.advance()
        texts.update({str(number): (statement.text, statement.database) for number, statement in cluster.statements.items()})
    told = cluster.truth.as_dict()
    waits = [wait for wait in told["waits"] if wait["statement_id"] in texts and wait["ended_ns"] is not None]

    assert len(waits) > 50
    for wait in waits:
        modes = dict(wanted(*texts[wait["statement_id"]]))
        blockers = {
            lock["statement_id"]
            for lock in told["locks"]
            if lock["locked_object"] in modes
            and conflict(modes[lock["locked_object"]], lock["lock_mode"])
            and lock["began_ns"] < wait["ended_ns"]
            and (lock["ended_ns"] or wait["ended_ns"]) > wait["began_ns"]
        }
        assert blockers - {wait["statement_id"]} == set(wait["blocked_by"])


def test_the_statements_of_clients_are_in_it(clock: Clock) -> None:
    """A client's statement is in the truth from its preparation until it is closed, on whichever worker it ran."""
    for reconnect in (False, True):
        with Simulator(idle=True, clock=clock, reconnect=reconnect, server_version=None) as simulator:
            simulator.restart()
            connection = connect(simulator.port)
            cursor = connection.cursor()
            clock.seconds += 1
            began = nanoseconds(clock.seconds)
            own = ask(cursor, "select show_server_status()")[-1][8]
            clock.seconds += 1
            cursor.execute("select show_locks()")
            first, second = simulator.truth()["statements"]
            assert (str(own), "client", began) == (first["statement_id"], first["source"], first["began_ns"])
            assert first["ended_ns"] is not None
            assert (str(own + 1), None) == (second["statement_id"], second["ended_ns"])

            clock.seconds += 1
            simulator.restart()
            assert [nanoseconds(clock.seconds)] == [span["ended_ns"] for span in simulator.truth()["statements"][1:]]


def test_a_statement_ends_with_its_connection(clock: Clock) -> None:
    """The statement of a client that goes away without closing it ends at that moment."""
    with Simulator(idle=True, clock=clock) as simulator:
        with Wire(simulator.port) as wire:
            wire.login()
            wire.run("select show_locks()")
            clock.seconds += 1
        wait_until(lambda: simulator.stats()["sessions"] == 0)
        clock.seconds += 1

        (span,) = [span for span in simulator.truth()["statements"] if span["source"] == "client"]
        assert span["ended_ns"] - span["began_ns"] == 10**9


def test_the_last_spans_are_kept_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind the last spans that ended are kept, with everything that goes on; how many are missing is said."""
    monkeypatch.setattr(truth, "KEPT", 2)
    kept = Truth()
    lasting = kept.begin("locks", 0.5, statement_id="0")
    for number in range(1, 6):
        kept.end(kept.begin("locks", float(number), statement_id=str(number)), number + 0.5)
    kept.end(kept.begin("statements", 1.0, statement_id="1"), 1.0)

    told = kept.as_dict()
    assert ["0", "4", "5"] == [span["statement_id"] for span in told["locks"]]
    assert {"locks": 3, "statements": 0, "waits": 0, "outages": 0} == told["forgotten"]
    kept.end(lasting, 9.0)
    kept.end(lasting, 10.0)
    assert [9_000_000_000] == [span["ended_ns"] for span in kept.as_dict()["locks"] if span["statement_id"] == "0"]


def test_it_doesnt_grow_without_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After hours the truth holds as many ended spans as it may, and knows how many there were."""
    monkeypatch.setattr(truth, "KEPT", 100)
    cluster = cluster_of(clock)
    first = cluster.next_statement_id()
    live(cluster, clock, 3600)
    told = cluster.truth.as_dict()

    assert len([span for span in told["statements"] if span["ended_ns"] is not None]) == 100
    issued = cluster.next_statement_id() - 1
    assert issued == told["forgotten"]["statements"] + len(told["statements"])
    assert issued > first + 1000
