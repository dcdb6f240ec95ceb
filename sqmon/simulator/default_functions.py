"""The utility functions behind the five default metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Optional, Sequence

from sqmon.simulator import invented, workload
from sqmon.simulator.cluster import LICENCE_LIMIT_GB, Cluster
from sqmon.simulator.columns import Column
from sqmon.simulator.generations import CLUSTER_NODES, LEVELDB_STATS, LICENCE_INFO, LOCKS, SERVER_STATUS, since
from sqmon.simulator.lock_table import Lock
from sqmon.simulator.server_clock import DAY_FIRST, YEAR_FIRST
from sqmon.simulator.truth import Span
from sqmon.simulator.workload import Statement

Row = tuple[Any, ...]


@dataclass
class Caller:
    """A logged-in connection to this worker, and the statement it runs (-1 when idle)."""

    connection_id: int
    user: str
    database: str
    service: str
    ip: str
    connected: float
    statement_id: int = -1
    statement: str = ""
    started: float = 0.0
    running: bool = False
    span: Optional[Span] = None


@dataclass(frozen=True)
class Question:
    """Everything that the rows of a function can depend on."""

    cluster: Cluster
    generation: str
    gpu: bool
    server_version: str
    caller: Caller
    callers: Sequence[Caller] = ()
    arguments: tuple[str, ...] = ()

    def written(self, at: float) -> str:
        """Return a time as show_server_status writes it: the day first up to 4.6, the year first since then."""
        return self.stamp(at, YEAR_FIRST if self.generation in ("4.7", "4.10") else DAY_FIRST)

    def stamp(self, at: float, form: str = YEAR_FIRST) -> str:
        """Return a time as the server's clock showed it."""
        return self.cluster.server_clock.text(at, form)


@dataclass(frozen=True)
class Function:
    """A utility function: columns by generation (missing = not known there), rows, and how many arguments it takes.

    A row may have more values than a generation has columns: those at its end are left out.
    """

    name: str
    columns: dict[str, list[Column]]
    rows: Callable[[Question], list[Row]]
    arguments: range = field(default=range(1))
    invent: Optional[Callable[[Question, int], list[Row]]] = None


def _own_row(question: Question, caller: Caller) -> Row:
    here, started = question.cluster.here, question.written(caller.started)
    return (
        *(caller.service, here.instance, caller.connection_id, here.ip, here.port, caller.database, caller.user, caller.ip),
        *(caller.statement_id, caller.statement, started, workload.EXECUTING, started),
    )


def _statement_row(question: Question, statement: Statement) -> Row:
    # While queued, a statement is shown with the end point that accepted it and no instance.
    node = statement.node or statement.entry
    return (
        statement.service,
        statement.node.instance if statement.node else "None",
        statement.connection_id,
        node.ip,
        node.port,
        statement.database,
        statement.user,
        statement.client_ip,
        statement.id,
        statement.text,
        question.written(statement.started),
        statement.status,
        question.written(statement.status_since),
    )


def _status_rows(question: Question) -> list[Row]:
    running = [caller for caller in question.callers if caller.running and caller is not question.caller]
    rows = [_statement_row(question, statement) for statement in question.cluster.statements.values()]
    return [*rows, *(_own_row(question, caller) for caller in [*running, question.caller])]


def _invented_status(question: Question, count: int) -> list[Row]:
    others = invented.statements(question.cluster, count - 1)
    return [*(_statement_row(question, statement) for statement in others), _own_row(question, question.caller)]


def _lock_row(question: Question, lock: Lock) -> Row:
    statement = lock.statement
    # 4.7 writes the two times of one row in two ways.
    form = YEAR_FIRST if question.generation == "4.10" else DAY_FIRST
    return (
        str(statement.id),
        statement.text,
        statement.user,
        lock.server,
        str(lock.port),
        lock.object,
        lock.mode,
        question.stamp(statement.started, form),
        question.stamp(lock.taken),
        int(lock.active),
        int(lock.snapshot),
    )


def _lock_rows(question: Question) -> list[Row]:
    return [_lock_row(question, lock) for lock in question.cluster.locks]


def _invented_locks(question: Question, count: int) -> list[Row]:
    return [_lock_row(question, lock) for lock in invented.locks(question.cluster, count)]


def _stats_rows(question: Question) -> list[Row]:
    cluster = question.cluster
    places = {node.instance: (node.ip, node.port) for node in cluster.nodes}
    return [
        (
            question.stamp(cluster.now),
            *places[instance],
            message,
            kept.count,
            kept.average,
            kept.maximum,
            question.stamp(kept.maximum_at),
            kept.variance,
        )
        for (instance, message), kept in sorted(cluster.stats.latencies.items())
    ]


def _node_rows(question: Question) -> list[Row]:
    rows = []
    for node in question.cluster.listed_nodes():
        state = "pending" if not node.up else "busy" if node.statement else "available"
        silent = int(question.cluster.now - node.heartbeat)
        rows.append((node.ip, node.port, node.connection_id, node.instance, silent, state))
    return rows


def _licence_rows(question: Question) -> list[Row]:
    cluster = question.cluster
    used = int(cluster.compressed_gb)
    left = max(0, int(LICENCE_LIMIT_GB) - used)
    row: Row = (used, int(cluster.uncompressed_gb), "compressed", int(LICENCE_LIMIT_GB), question.stamp(cluster.expires, "%Y-%m-%d"))
    row = (*row, int(cluster.now >= cluster.expires), int(used > LICENCE_LIMIT_GB), left)
    return [(*row, 0, 0, int(question.gpu))]


def _reset(question: Question) -> list[Row]:
    question.cluster.stats.reset()
    return []


DEFAULTS = (
    Function("show_server_status", SERVER_STATUS, _status_rows, invent=_invented_status),
    Function("show_locks", LOCKS, _lock_rows, invent=_invented_locks),
    Function("get_leveldb_stats", LEVELDB_STATS, _stats_rows),
    Function("show_cluster_nodes", CLUSTER_NODES, _node_rows),
    Function("get_license_info", LICENCE_INFO, _licence_rows),
    Function("reset_leveldb_stats", since({"2024-05": "reset_leveldb_stats text"}), _reset),
)
