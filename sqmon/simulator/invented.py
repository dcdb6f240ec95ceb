"""Statements and locks that are not part of the cluster's history, for tables of any size."""

from __future__ import annotations

import random
from typing import Iterator

from sqmon.simulator import workload
from sqmon.simulator.cluster import WORKERS, Cluster
from sqmon.simulator.lock_rules import wanted
from sqmon.simulator.lock_table import Lock, locks_of
from sqmon.simulator.workload import Statement


def statements(cluster: Cluster, count: int) -> Iterator[Statement]:
    """Yield that many statements, which are all executing."""
    chance = random.Random(cluster.seed)
    for index in range(count):
        statement = workload.arrive(
            chance,
            statement_id=1_000_000 + index,
            connection_id=100_000 + index,
            database=cluster.databases[0],
            service=cluster.services[0],
            entry=cluster.nodes[1 + index % WORKERS],
            at=cluster.now - chance.uniform(1, 600),
        )
        statement.enter(workload.EXECUTING, statement.started + 0.2)
        statement.node = statement.entry
        yield statement


def locks(cluster: Cluster, count: int) -> list[Lock]:
    """Return that many locks of such statements."""
    found: list[Lock] = []
    # More than four in ten take locks, three at least: this ends long before the bound.
    for statement in statements(cluster, 10 * count + 100):
        found += locks_of(statement, wanted(statement.text, statement.database), statement.started + 0.1)
        if len(found) >= count:
            break
    return found[:count]
