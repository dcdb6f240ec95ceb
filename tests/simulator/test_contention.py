"""Locks and waits: what conflicts is never held at once, and a statement that waits is let in or gives up in time."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any, Callable, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqmon.simulator.cluster import Cluster
from sqmon.simulator.life import Life
from sqmon.simulator.lock_rules import conflict, wanted
from sqmon.simulator.truth import nanoseconds
from tests.simulator.conftest import Clock
from tests.simulator.test_cluster import live, rows

INSERT = "insert into public.t select 1;"
UPDATE = "update public.t set x = 1;"
DEFINE = "create or replace table public.t (x int);"


def cluster_of(clock: Clock, seed: int = 0, **life: Any) -> Cluster:
    """Return a cluster that lives as `life` says."""
    return Cluster(clock=clock, seed=seed, databases=("master", "d"), services=("sqream", "monitor"), life=Life(**life))


@pytest.fixture
def idle(clock: Clock) -> Cluster:
    """A cluster in which only that happens which a test orders."""
    cluster = cluster_of(clock, idle=True)
    cluster.restart()
    return cluster


def status(cluster: Cluster, number: int) -> Optional[str]:
    """Return the status that show_server_status gives for a statement, None when it has none."""
    return next((row[11] for row in rows(cluster, "show_server_status") if row[8] == number), None)


def holders(cluster: Cluster) -> set[str]:
    """Return the ids in show_locks."""
    return {row[0] for row in rows(cluster, "show_locks")}


@pytest.mark.parametrize(
    ("sql", "locks"),
    [
        ("select * from t", []),
        ("copy t to wrapper csv_fdw options (location = '/t.csv')", []),
        ("copy (select 1) to '/t.csv'", []),
        ("explain insert into t values (1)", []),
        ("insert into t values (1)", ["Inclusive database$d", "Inclusive schema$d$public", "Inclusive table$d$public$t$Insert"]),
        ('COPY "My S"."T" FROM \'/t.csv\'', ["Inclusive database$d", "Inclusive schema$d$My S", "Inclusive table$d$My S$T$Insert"]),
        ("update s.t set x = 1", ["Inclusive database$d", "Inclusive schema$d$s", "Exclusive table$d$s$t$Update"]),
        ("DELETE FROM T", ["Inclusive database$d", "Inclusive schema$d$public", "Exclusive table$d$public$t$Update"]),
        ("truncate table if exists d.s.t", ["Inclusive database$d", "Inclusive schema$d$s", "Exclusive table$d$s$t$Update"]),
        (
            "CREATE OR REPLACE TABLE nba2 AS SELECT 1",
            [
                "Inclusive database$d",
                "Exclusive globalpermission$",
                "Inclusive schema$d$public",
                "Exclusive table$d$public$nba2$Insert",
                "Exclusive table$d$public$nba2$Update",
            ],
        ),
        ("drop schema if exists s", ["Inclusive database$d", "Exclusive globalpermission$", "Exclusive schema$d$s"]),
        ("create database other", ["Exclusive database$other", "Exclusive globalpermission$"]),
        ("grant login to r", ["Inclusive database$d", "Exclusive globalpermission$"]),
    ],
)
def test_the_text_says_which_locks_are_wanted(sql: str, locks: list[str]) -> None:
    """A statement wants the locks that SQreamDB's guide gives for its kind, on the object that its text names."""
    assert locks == [f"{mode} {name}" for name, mode in wanted(sql, "d")]


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (INSERT, INSERT, False),
        (INSERT, UPDATE, False),
        (UPDATE, INSERT, False),
        (UPDATE, UPDATE, True),
        (INSERT, DEFINE, True),
        (DEFINE, INSERT, True),
        (UPDATE, DEFINE, True),
        (DEFINE, UPDATE, True),
        (DEFINE, DEFINE.replace(".t", ".other"), True),
        (UPDATE, UPDATE.replace(".t", ".other"), False),
        (DEFINE, "select * from public.t;", False),
    ],
)
def test_statements_wait_as_the_guide_says(idle: Cluster, first: str, second: str, *, waits: bool) -> None:
    """Two statements run side by side or one after the other, as the table of SQreamDB's guide to concurrency says."""
    idle.order(first, seconds=10)
    later = idle.order(second, seconds=10)

    assert waits == (status(idle, later) == "Preparing") == bool(idle.truth.as_dict()["waits"])


def test_the_holder_ends_and_the_waiter_is_let_in(idle: Cluster, clock: Clock) -> None:
    """A waiter has no lock and no progress until the holder ends, and has its locks from that moment."""
    holder = idle.order(UPDATE, seconds=2)
    waiter = idle.order(UPDATE, seconds=5, user="reporting")
    began = rows(idle, "show_server_status")[1]
    live(idle, clock, 1)
    assert {str(holder)} == holders(idle)
    assert began == rows(idle, "show_server_status")[1]
    assert (began[1], began[6], began[9], began[10], began[11]) == ("None", "reporting", UPDATE, began[12], "Preparing")

    live(idle, clock, 1)
    assert (None, "Executing") == (status(idle, holder), status(idle, waiter))
    assert {str(waiter)} == holders(idle)
    (wait,) = idle.truth.as_dict()["waits"]
    assert [str(holder)] == wait["blocked_by"]
    assert ("let_in", 2 * 10**9) == (wait["outcome"], wait["ended_ns"] - wait["began_ns"])


def test_a_waiter_gives_up_when_its_time_is_over(idle: Cluster, clock: Clock) -> None:
    """After statementLockTimeout a waiter is gone without ever having had a lock; the time can be set."""
    holder = idle.order(UPDATE, seconds=None)
    for seconds in (3, 10):
        idle.configure(statement_lock_timeout=seconds)
        waiter = idle.order(DEFINE)
        live(idle, clock, seconds - 1)
        assert status(idle, waiter) == "Preparing"
        live(idle, clock, 1)
        assert status(idle, waiter) is None
        wait = idle.truth.as_dict()["waits"][-1]
        assert ("timed_out", seconds * 10**9) == (wait["outcome"], wait["ended_ns"] - wait["began_ns"])

    assert {str(holder)} == {lock["statement_id"] for lock in idle.truth.as_dict()["locks"]}


def test_waiters_are_let_in_in_their_order(idle: Cluster) -> None:
    """Of two waiters that exclude each other the first is let in first, and each is blocked by all that were in its way."""
    first = idle.order(UPDATE, seconds=None)
    second = idle.order(UPDATE, seconds=None)
    third = idle.order(UPDATE, seconds=None)
    idle.end(str(first))
    assert {str(second)} == holders(idle)
    idle.end(str(second))
    assert {str(third)} == holders(idle)

    assert [[str(first)], [str(first), str(second)]] == [wait["blocked_by"] for wait in idle.truth.as_dict()["waits"]]


def test_a_newcomer_without_conflict_overtakes(idle: Cluster) -> None:
    """A newcomer that conflicts with no lock gets in before a waiter, which it then blocks as well."""
    first = idle.order(INSERT, seconds=None)
    waiter = idle.order(DEFINE)
    newcomer = idle.order(INSERT, seconds=None)

    assert (status(idle, waiter), status(idle, newcomer)) == ("Preparing", "Executing")
    assert [str(first), str(newcomer)] == idle.truth.as_dict()["waits"][0]["blocked_by"]


def test_a_queued_statement_holds_its_locks(idle: Cluster) -> None:
    """A statement has its locks while it queues for a worker, and blocks others there."""
    for table in "abc":
        idle.order(f"update {table} set x = 1", seconds=None)
    queued = idle.order(UPDATE, seconds=None)
    waiter = idle.order(UPDATE)

    assert ("In queue", "Preparing") == (status(idle, queued), status(idle, waiter))
    assert str(queued) in holders(idle)


def test_an_orphan_blocks_until_it_is_removed(idle: Cluster, clock: Clock) -> None:
    """Locks that outlive their statement are marked, block others, and let them in when they go."""
    gone = idle.order(UPDATE, seconds=1, orphan_seconds=4)
    live(idle, clock, 2)
    waiter = idle.order(UPDATE, seconds=9)
    assert status(idle, gone) is None
    assert [(str(gone), 0)] * 3 == [(row[0], row[9]) for row in rows(idle, "show_locks")]

    live(idle, clock, 3)
    assert [(str(waiter), 1)] * 3 == [(row[0], row[9]) for row in rows(idle, "show_locks")]
    assert [str(gone)] == idle.truth.as_dict()["waits"][0]["blocked_by"]


def test_a_statement_can_be_ended_wherever_it_is(idle: Cluster) -> None:
    """An order ends a waiter, a queued statement and a running one, each of which is gone at once; there is no second end."""
    numbers = [idle.order(f"update {table} set x = 1", seconds=None) for table in ("a", "b", "c", "d", "d")]
    assert ["Executing"] * 3 + ["In queue", "Preparing"] == [status(idle, number) for number in numbers]
    for number in reversed(numbers):
        idle.end(str(number))
        assert status(idle, number) is None
    assert {"available"} == {row[5] for row in rows(idle, "show_cluster_nodes")}

    assert holders(idle) == set()
    assert idle.truth.as_dict()["waits"][0]["outcome"] == "stopped"
    with pytest.raises(ValueError, match="no statement 0 is under way"):
        idle.end("0")


def test_a_statement_that_ends_while_it_is_prepared_gets_no_lock(clock: Clock) -> None:
    """A user's statement that is ended before it asks for locks never has one."""
    cluster = cluster_of(clock, contention=1.0)
    young: list[Any] = []
    while not young:
        clock.seconds += 0.05
        cluster.advance()
        young = [number for number, statement in cluster.statements.items() if clock.seconds - statement.started < 0.05]
    cluster.end(str(young[0]))
    live(cluster, clock, 10)

    told = cluster.truth.as_dict()
    assert str(young[0]) not in [span["statement_id"] for kind in ("locks", "waits") for span in told[kind]]


def test_a_restart_ends_everything_and_ids_begin_anew(clock: Clock) -> None:
    """After a restart nothing of before is open, ids begin with 0, every node is there, and life goes on."""
    cluster = cluster_of(clock, contention=0.5)
    while not (cluster.locks and any(wait["ended_ns"] is None for wait in cluster.truth.as_dict()["waits"])):
        live(cluster, clock, 1)
    cluster.take_down(cluster.nodes[1], 60)
    cluster.restart()
    at = nanoseconds(clock.seconds)

    truth = cluster.truth.as_dict()
    assert [at] == truth["restarts"]
    assert {None} != {span["outcome"] for span in truth["waits"]} >= {"server_restarted"}
    for kind in ("locks", "statements", "waits", "outages"):
        assert all(span["ended_ns"] <= at for span in truth[kind])
    assert [] == rows(cluster, "show_locks") == rows(cluster, "get_leveldb_stats")
    assert len(rows(cluster, "show_cluster_nodes")) == 4
    assert cluster.order("select 1") == 0

    live(cluster, clock, 60)
    after = [span for span in cluster.truth.as_dict()["statements"] if span["began_ns"] > at]
    assert [str(number) for number in range(1, len(after) + 1)] == [span["statement_id"] for span in after]
    assert 20 < len(after) < 80
    assert cluster.locks


def test_by_default_a_few_statements_wait(clock: Clock) -> None:
    """In an hour of the ordinary life some statements are let in and some give up, and nine in ten never wait."""
    cluster = cluster_of(clock)
    live(cluster, clock, 3600)
    truth = cluster.truth.as_dict()
    outcomes = Counter(wait["outcome"] for wait in truth["waits"])

    assert min(outcomes["let_in"], outcomes["timed_out"]) > 20
    assert len(truth["waits"]) < 0.1 * len(truth["statements"])


def test_the_knob_makes_waits(clock: Clock) -> None:
    """The higher the contention is, the more statements wait; at 1 most of them do, and about half of these are let in."""
    shares = []
    for contention in (0.0, 0.2, 0.5, 1.0):
        cluster = cluster_of(clock, contention=contention)
        live(cluster, clock, 1800)
        truth = cluster.truth.as_dict()
        shares.append(len(truth["waits"]) / len(truth["statements"]))

    assert shares == sorted(shares)
    assert shares[-1] > 0.5
    assert sum(wait["outcome"] == "let_in" for wait in truth["waits"]) > 0.45 * len(truth["waits"])


def test_an_idle_cluster_does_nothing_by_itself(idle: Cluster, clock: Clock) -> None:
    """When idle, no statement comes and no node fails for a day, and hearts beat; a setting ends that."""
    live(idle, clock, 10)
    clock.seconds += 86400
    idle.advance()
    truth = idle.truth.as_dict()
    assert ([], []) == (truth["statements"], truth["outages"])
    assert max(row[4] for row in rows(idle, "show_cluster_nodes")) <= 5

    idle.configure(idle=False)
    live(idle, clock, 60)
    assert idle.truth.as_dict()["statements"]


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (lambda idle: idle.order("select 1", database="e"), "unknown database 'e': one of master, d"),
        (lambda idle: idle.order("select 1", service="monitor"), "no worker runs statements of the service 'monitor': one of sqream"),
        (lambda idle: idle.order("select 1", seconds=-1), "seconds of a statement is 0 or more, not -1"),
        (lambda idle: idle.order("select 1", orphan_seconds=float("nan")), "orphan_seconds of a statement is 0 or more, not nan"),
        (lambda idle: idle.configure(contention=1.5), "contention is a share from 0 to 1, not 1.5"),
        (lambda idle: idle.configure(statement_lock_timeout=-1), "statement_lock_timeout is a number of seconds, 0 or more, not -1"),
        (lambda idle: idle.configure(idle=False, clock_skew=1e9), "clock_skew is a number of seconds within ten years"),
        (lambda idle: idle.configure(idle=False, time_zone="Mars/Olympus"), "unknown time zone 'Mars/Olympus'"),
    ],
)
def test_bad_orders_change_nothing(idle: Cluster, order: Callable[[Cluster], object], text: str) -> None:
    """An order that can't be followed says why, and changes nothing."""
    before = idle.life, idle.truth.as_dict()
    with pytest.raises(ValueError, match=text):
        order(idle)
    assert before == (idle.life, idle.truth.as_dict())
    assert idle.order("select 1") == 0


STATEMENTS = tuple(
    f"{head} public.{table} {tail}"
    for table in ("t", "u")
    for head, tail in (("insert into", "select 1"), ("update", "set x = 1"), ("create or replace table", "(x int)"), ("drop table", ""))
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.sampled_from(STATEMENTS), st.sampled_from([0, 0.5, 1, 4, None]), st.sampled_from([None, None, 2])),
        st.tuples(st.just("pass"), st.sampled_from([0.25, 0.5, 1.0, 3.0])),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("kill"), st.integers(1, 3)),
        st.tuples(st.just("restart")),
    ),
    min_size=20,
    max_size=50,
)


def take(cluster: Cluster, clock: Clock, step: tuple[Any, ...]) -> None:
    """Take one step of a schedule."""
    name, *arguments = step
    if name == "run":
        cluster.order(arguments[0], seconds=arguments[1], orphan_seconds=arguments[2])
    elif name == "pass":
        clock.seconds += arguments[0]
        cluster.advance()
    elif name == "end" and cluster.statements:
        cluster.end(str(sorted(cluster.statements)[arguments[0] % len(cluster.statements)]))
    elif name == "kill":
        cluster.take_down(cluster.nodes[arguments[0]], 5.0)
    elif name == "restart":
        cluster.restart()


@settings(max_examples=150)
@given(STEPS)
def test_any_schedule_keeps_the_rules(steps: list[tuple[Any, ...]]) -> None:
    """Whatever is ordered: no two conflicting locks are held at once, nobody waits for nothing or for too long, ids grow."""
    clock = Clock()
    cluster = cluster_of(clock, idle=True)
    newest = -1
    for step in steps:
        take(cluster, clock, step)
        newest = -1 if step[0] == "restart" else newest
        if step[0] == "run":
            number = cluster.order("select 1", seconds=0)
            assert number > newest
            newest = number
        for one, other in combinations(cluster.locks, 2):
            assert one.statement is other.statement or one.object != other.object or not conflict(one.mode, other.mode)
        known = {None, *cluster.statements.values()}
        assert known >= {lock.statement for lock in cluster.locks if lock.active} | {node.statement for node in cluster.nodes}
        preparing = {str(statement.id): statement for statement in cluster.statements.values() if statement.status == "Preparing"}
        waits = [wait for wait in cluster.truth.as_dict()["waits"] if wait["ended_ns"] is None]
        assert preparing.keys() == {wait["statement_id"] for wait in waits}
        for statement in preparing.values():
            modes = dict(wanted(statement.text, statement.database))
            assert any(lock.object in modes and conflict(modes[lock.object], lock.mode) for lock in cluster.locks)
            assert clock.seconds - statement.started < 3.0
    for wait in cluster.truth.as_dict()["waits"]:
        if wait["ended_ns"] is not None:
            lasted = wait["ended_ns"] - wait["began_ns"]
            assert lasted == 3 * 10**9 if wait["outcome"] == "timed_out" else lasted <= 3 * 10**9
