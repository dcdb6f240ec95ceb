"""The simulated cluster: what comes ends, what is taken is released or orphaned, and the same seed gives the same life."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sqmon.simulator import invented
from sqmon.simulator.agenda import CATCH_UP
from sqmon.simulator.cluster import LISTED_SECONDS, Cluster
from sqmon.simulator.default_functions import Caller, Question
from sqmon.simulator.metadata import CHECK_LOCKS, HEARTBEAT, Latency
from sqmon.simulator.other_functions import FUNCTIONS
from tests.simulator.conftest import Clock


@pytest.fixture
def cluster(clock: Clock) -> Cluster:
    """A cluster on a clock that the test winds."""
    return alive(clock)


def alive(clock: Clock, seed: int = 0) -> Cluster:
    """Return a cluster with the default database and services."""
    return Cluster(clock=clock, seed=seed, databases=("master",), services=("sqream", "monitor"))


def live(cluster: Cluster, clock: Clock, seconds: int) -> None:
    """Advance the clock second by second."""
    for _ in range(seconds):
        clock.seconds += 1
        cluster.advance()


def rows(cluster: Cluster, function: str) -> list[tuple[Any, ...]]:
    """Return what the function answers now."""
    caller = Caller(1, "sqream", "master", "monitor", "127.0.0.1", cluster.now)
    return FUNCTIONS[function].rows(Question(cluster, generation="4.10", gpu=False, server_version="v2023.1.0", caller=caller))


def test_it_is_at_work_from_the_first_moment(cluster: Cluster) -> None:
    """The first poll finds every node, its heartbeat, counted messages and a licence in use."""
    assert [row[5] in ("available", "busy") for row in rows(cluster, "show_cluster_nodes")] == [True] * 4
    assert {row[3] for row in rows(cluster, "get_leveldb_stats")} >= {HEARTBEAT, CHECK_LOCKS}
    assert rows(cluster, "get_license_info")[0][0] > 0


def test_statements_come_wait_run_and_end(cluster: Cluster, clock: Clock) -> None:
    """Statements pass through every status and end, and the queue is empty at times."""
    seen: Counter[str] = Counter()
    waiting = set()
    first = set(cluster.statements)
    for _ in range(2400):
        clock.seconds += 0.25
        cluster.advance()
        statuses = [statement.status for statement in cluster.statements.values()]
        seen.update(statuses)
        waiting.add(statuses.count("In queue"))

    assert {"Preparing", "In queue", "Initializing", "Executing"} == set(seen)
    assert not first & set(cluster.statements)
    assert min(waiting) == 0 < max(waiting)


def test_a_queued_statement_has_no_instance(cluster: Cluster, clock: Clock) -> None:
    """The row of a queued statement names no instance, in the server's word for it."""
    for _ in range(600):
        live(cluster, clock, 1)
        for row in rows(cluster, "show_server_status"):
            assert (row[11] in ("Preparing", "In queue")) == (row[1] == "None")


def test_a_worker_runs_one_statement_at_a_time(cluster: Cluster, clock: Clock) -> None:
    """A worker runs one statement at a time, and the one without a GPU none."""
    for _ in range(600):
        live(cluster, clock, 1)
        running = [statement.node.instance for statement in cluster.statements.values() if statement.node]

        assert len(running) == len(set(running))
        assert cluster.here.instance not in running


def test_locks_belong_to_statements_or_are_orphans(cluster: Cluster, clock: Clock) -> None:
    """The statement of an active lock runs, that of an inactive one has ended, both occur, and orphans go away in the end."""
    states: Counter[bool] = Counter()
    orphans = set()
    fewest = 9
    for _ in range(1800):
        live(cluster, clock, 1)
        for lock in cluster.locks:
            states[lock.active] += 1
            assert lock.active == (lock.statement.id in cluster.statements)
            if not lock.active:
                orphans.add(lock.statement.id)
        left = Counter(lock.statement.id for lock in cluster.locks if not lock.active)
        fewest = min([fewest, *left.values()])

    assert states[True] > 0
    assert fewest == 1
    assert len(orphans) > 2
    live(cluster, clock, 301)
    assert not orphans & {lock.statement.id for lock in cluster.locks}


def test_a_dead_node_leaves_the_list_and_comes_back(cluster: Cluster, clock: Clock) -> None:
    """The heartbeat of a dead node grows old, then its row is missing, and then it is back with a new connection."""
    node = cluster.nodes[1]
    connection = node.connection_id
    cluster.take_down(node, 60)
    live(cluster, clock, 9)
    row = next(row for row in rows(cluster, "show_cluster_nodes") if row[3] == node.instance)
    assert (row[4] >= 9, row[5]) == (True, "pending")

    live(cluster, clock, int(LISTED_SECONDS))
    assert node.instance not in [row[3] for row in rows(cluster, "show_cluster_nodes")]

    live(cluster, clock, 60)
    assert node.instance in [row[3] for row in rows(cluster, "show_cluster_nodes")]
    assert connection != node.connection_id


def test_a_dead_node_takes_its_statement_and_leaves_the_locks(cluster: Cluster, clock: Clock) -> None:
    """A node that dies takes its statement with it, and leaves the statement's locks."""

    def holds(index: int) -> bool:
        statement = cluster.nodes[index].statement
        return statement is not None and any(lock.statement is statement for lock in cluster.locks)

    while not any(holds(index) for index in (1, 2, 3)):
        live(cluster, clock, 1)
    node = cluster.nodes[next(index for index in (1, 2, 3) if holds(index))]
    statement = node.statement
    assert statement is not None
    cluster.take_down(node, 60)

    assert statement.id not in cluster.statements
    assert {False} == {lock.active for lock in cluster.locks if lock.statement is statement}
    assert (str(statement.id), 0) in [(row[0], row[9]) for row in rows(cluster, "show_locks")]
    assert (statement.id, 0) in [(row[5], row[7]) for row in rows(cluster, "get_open_snapshots")]


def test_nodes_go_down_by_themselves(cluster: Cluster, clock: Clock) -> None:
    """Nodes go down a few times an hour, and never the one that answers."""
    sizes = set()
    for _ in range(3600):
        live(cluster, clock, 1)
        listed = cluster.listed_nodes()
        sizes.add(len(listed))
        assert cluster.here in listed

    assert len(sizes) > 1


def test_the_licence_fills_up(cluster: Cluster, clock: Clock) -> None:
    """Used and left size add up to the limit, a full licence has its flag, and after its day it has expired."""
    before = rows(cluster, "get_license_info")[0]
    live(cluster, clock, 3600)
    after = rows(cluster, "get_license_info")[0]
    assert after[0] > before[0]
    assert after[0] + after[7] == after[3]
    assert (after[5], after[6]) == (0, 0)

    cluster.compressed_gb = 5001.0
    clock.seconds = cluster.expires
    cluster.advance()
    assert rows(cluster, "get_license_info")[0][5:8] == (1, 1, 0)


def test_metadata_statistics_accumulate_until_reset(cluster: Cluster, clock: Clock) -> None:
    """Counts and maxima grow until a reset empties the table, which then fills again."""

    def counts() -> dict[tuple[str, str], tuple[int, float]]:
        return {(row[1], row[3]): (row[4], row[6]) for row in rows(cluster, "get_leveldb_stats")}

    before = counts()
    live(cluster, clock, 60)
    after = counts()
    assert all(after[key] >= before[key] for key in before)
    assert sum(count for count, _ in after.values()) > sum(count for count, _ in before.values())

    assert rows(cluster, "reset_leveldb_stats") == []
    assert counts() == {}
    live(cluster, clock, 6)
    assert 0 < sum(count for count, _ in counts().values()) < 60


def test_latency_statistics_are_those_of_the_values() -> None:
    """The statistics are the mean, the variance, the maximum and its time."""
    latency = Latency()
    for at, value in enumerate([2.0, 4.0, 4.0, 10.0, 5.0]):
        latency.add(value, float(at))

    assert (latency.count, latency.average, latency.maximum, latency.maximum_at) == (5, 5.0, 10.0, 3.0)
    assert latency.variance == pytest.approx(7.2)


def test_the_same_seed_lives_the_same_life() -> None:
    """The same seed gives the same life however often it is asked, and another seed another."""

    def life(seed: int, step: int) -> list[Any]:
        clock = Clock()
        cluster = alive(clock, seed)
        for _ in range(0, 600, step):
            clock.seconds += step
            cluster.advance()
        tables = ("show_locks", "get_leveldb_stats", "show_cluster_nodes", "get_license_info")
        return [cluster.truth.as_dict(), *(rows(cluster, name) for name in tables)]

    assert life(1, 1) == life(1, 600)
    assert life(1, 1) != life(2, 1)


def test_a_long_silence_is_not_lived_through_event_by_event(cluster: Cluster, clock: Clock) -> None:
    """After a year without a question the cluster is at work at once."""
    before = cluster.next_statement_id()
    clock.seconds += 365 * 86400
    cluster.advance()

    assert cluster.next_statement_id() - before < 2 * CATCH_UP
    assert all(clock.seconds - statement.started < CATCH_UP for statement in cluster.statements.values())


def test_a_clock_that_steps_back_stops_the_cluster(cluster: Cluster, clock: Clock) -> None:
    """When the clock steps back, time in the cluster stands still."""
    now = cluster.now
    clock.seconds -= 50

    assert now == cluster.advance()


def test_invented_locks_belong_together(cluster: Cluster) -> None:
    """As many locks are invented as asked for, several per statement as on a real server."""
    locks = invented.locks(cluster, 1000)

    assert len(locks) == 1000
    # The last statement's locks may have been cut off by the number.
    *whole, _ = Counter(lock.statement.id for lock in locks).values()
    assert min(whole) >= 3
