"""The five default functions: columns of both generations, and rows from the cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Callable, Optional, Sequence

from sqmon.simulator import workload
from sqmon.simulator.cluster import LICENCE_LIMIT_GB, Cluster
from sqmon.simulator.columns import Column
from sqmon.simulator.workload import Lock, Statement

GENERATIONS = ("4.6", "4.10")
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
        """The older writing of a time in 4.6, the newer one since."""
        return stamp(int(at), "%Y-%m-%d %H:%M:%S" if self.generation == "4.10" else "%d-%m-%Y %H:%M:%S")


@dataclass(frozen=True)
class Function:
    """A utility function: columns by generation (missing = not known there), rows, and how many arguments it takes."""

    name: str
    columns: dict[str, list[Column]]
    rows: Callable[[Question], list[Row]]
    arguments: range = field(default=range(1))
    invent: Optional[Callable[[Question, int], list[Row]]] = None


@lru_cache(maxsize=4096)
def stamp(at: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Server-local time without a zone, as the server writes it."""
    return time.strftime(form, time.localtime(at))


def columns(text: str) -> list[Column]:
    """`name type, name type` as columns; a blank in a name is written `+`, NOT NULL is a `!` after the type."""
    pairs = [entry.split() for entry in text.split(",")]
    return [Column(name.replace("+", " "), type_.rstrip("!"), not type_.endswith("!")) for name, type_ in pairs]


def both(text: str) -> dict[str, list[Column]]:
    """The same columns in both generations."""
    return {generation: columns(text) for generation in GENERATIONS}


def _own_row(question: Question, caller: Caller) -> Row:
    here, started = question.cluster.here, question.written(caller.started)
    return (
        *(caller.service, here.instance, caller.connection_id, here.ip, here.port, caller.database, caller.user, caller.ip),
        *(caller.statement_id, caller.statement, started, workload.EXECUTING, started),
    )


def _statement_row(question: Question, statement: Statement) -> Row:
    # While queued, a statement is shown with the end point that accepted it and no instance.
    node = statement.node or question.cluster.here
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
    others = question.cluster.invent_statements(count - 1)
    return [*(_statement_row(question, statement) for statement in others), _own_row(question, question.caller)]


def _lock_row(question: Question, lock: Lock) -> Row:
    statement = lock.statement
    row = (
        str(statement.id),
        statement.text,
        statement.user,
        lock.server,
        str(lock.port),
        lock.object,
        lock.mode,
        question.written(statement.started),
        stamp(int(lock.taken)),
    )
    return row if question.generation == "4.6" else (*row, int(lock.active), int(lock.snapshot))


def _lock_rows(question: Question) -> list[Row]:
    return [_lock_row(question, lock) for lock in question.cluster.locks]


def _invented_locks(question: Question, count: int) -> list[Row]:
    return [_lock_row(question, lock) for lock in question.cluster.invent_locks(count)]


def _stats_rows(question: Question) -> list[Row]:
    cluster = question.cluster
    places = {node.instance: (node.ip, node.port) for node in cluster.nodes}
    return [
        (
            stamp(int(cluster.now)),
            *places[instance],
            message,
            kept.count,
            kept.average,
            kept.maximum,
            stamp(int(kept.maximum_at)),
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
    row: Row = (used, int(cluster.compressed_gb * 4.2), "compressed", int(LICENCE_LIMIT_GB), stamp(int(cluster.expires), "%Y-%m-%d"))
    row = (*row, int(cluster.now >= cluster.expires), int(used > LICENCE_LIMIT_GB), left)
    return [row if question.generation == "4.6" else (*row, 0, 0, int(question.gpu))]


def _reset(question: Question) -> list[Row]:
    question.cluster.stats.reset()
    return []


_OLD_LOCKS = (
    "statement_id text!, statement_string text, username text, server text, port text, locked_object text, lockmode varchar(9),"
    " statement_start_time varchar(19), lock_start_time varchar(19)"
)
_NEW_LOCKS = (
    "statement+id text!, statement+string text, username text, server text, port text, locked+object text, lock+mode varchar(9),"
    " statement+start+time varchar(19), lock+start+time varchar(19), is_statement_active int, is_snapshot_active int"
)
_OLD_LICENCE = (
    "compressed_cluster_size bigint, uncompressed_cluster_size bigint, compress_type text, cluster_size_limit bigint,"
    " expiration_date varchar(10), is_date_expired int, is_size_exceeded int, cluster_size_left bigint"
)
_NEW_LICENCE = _OLD_LICENCE + ", data_read_size_limit bigint, data_write_size_limit bigint, gpu_limit int"

DEFAULTS = (
    Function(
        "show_server_status",
        both(
            "service text, instanceid text, connection_id int, serverip text, serverport int, database_name text, user_name text,"
            " clientip text, statementid int, statement text, statementstarttime varchar(19), statementstatus text,"
            " statementstatusstart varchar(19)"
        ),
        _status_rows,
        invent=_invented_status,
    ),
    Function("show_locks", {"4.6": columns(_OLD_LOCKS), "4.10": columns(_NEW_LOCKS)}, _lock_rows, invent=_invented_locks),
    Function(
        "get_leveldb_stats",
        both(
            "timestamp varchar(19), server_ip text, server_port int, msg text, count bigint, average double, max double,"
            " max_timestamp varchar(19), variance double"
        ),
        _stats_rows,
    ),
    Function(
        "show_cluster_nodes",
        both("server_ip text, server_port int, connection_id int, instance_id text, last_heartbeat int, connection_status text"),
        _node_rows,
    ),
    Function("get_license_info", {"4.6": columns(_OLD_LICENCE), "4.10": columns(_NEW_LICENCE)}, _licence_rows),
    Function("reset_leveldb_stats", both("reset_leveldb_stats text"), _reset),
)
