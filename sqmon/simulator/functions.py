"""The five default functions: their columns in each generation of SQreamDB, and rows from the cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Callable, Mapping, Optional, Sequence

from sqmon.simulator import workload
from sqmon.simulator.cluster import LICENCE_LIMIT_GB, Cluster
from sqmon.simulator.columns import Column
from sqmon.simulator.workload import Lock, Statement

GENERATIONS = ("2019", "2024-05", "4.6", "4.7", "4.10")
"""Oldest first. Two are known by when they were seen: 2019 has blanks in its names, a server of May 2024 has underscores there."""

_DAY_FIRST = "%d-%m-%Y %H:%M:%S"
_YEAR_FIRST = "%Y-%m-%d %H:%M:%S"
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
        """A time as show_server_status writes it: the day first up to 4.6, the year first since then."""
        return stamp(int(at), _YEAR_FIRST if self.generation in ("4.7", "4.10") else _DAY_FIRST)


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


@lru_cache(maxsize=4096)
def stamp(at: int, form: str = _YEAR_FIRST) -> str:
    """Server-local time without a zone, as the server writes it."""
    return time.strftime(form, time.localtime(at))


def columns(text: str) -> list[Column]:
    """`name type, name type` as columns; a blank in a name is written `+`, NOT NULL is a `!` after the type."""
    pairs = [entry.split() for entry in text.split(",")]
    return [Column(name.replace("+", " "), type_.rstrip("!"), not type_.endswith("!")) for name, type_ in pairs]


def since(texts: Mapping[str, str]) -> dict[str, list[Column]]:
    """Columns by generation, where each text holds from its generation until the next text; unknown before the first one."""
    found, text = {}, ""
    for generation in GENERATIONS:
        text = texts.get(generation, text)
        if text:
            found[generation] = columns(text)
    return found


def always(text: str) -> dict[str, list[Column]]:
    """The same columns in every generation."""
    return since({GENERATIONS[0]: text})


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
    # 4.7 writes the two times of one row in two ways.
    form = _YEAR_FIRST if question.generation == "4.10" else _DAY_FIRST
    return (
        str(statement.id),
        statement.text,
        statement.user,
        lock.server,
        str(lock.port),
        lock.object,
        lock.mode,
        stamp(int(statement.started), form),
        stamp(int(lock.taken)),
        int(lock.active),
        int(lock.snapshot),
    )


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
    row: Row = (used, int(cluster.uncompressed_gb), "compressed", int(LICENCE_LIMIT_GB), stamp(int(cluster.expires), "%Y-%m-%d"))
    row = (*row, int(cluster.now >= cluster.expires), int(used > LICENCE_LIMIT_GB), left)
    return [(*row, 0, 0, int(question.gpu))]


def _reset(question: Question) -> list[Row]:
    question.cluster.stats.reset()
    return []


_STATUS = (
    "service text, instanceid text, connection_id int, serverip text, serverport int, database_name text, user_name text, clientip text,"
    " statementid int, statement text, statementstarttime varchar(19), statementstatus text, statementstatusstart varchar(19)"
)
_STATUS_OF_MAY_2024 = (
    "service text, instance_id text, connection_id int, server_ip text, server_port int, database_name text, user_name text,"
    " client_ip text, statement_id int, statement text, statement_start_time varchar(19), statement_status text,"
    " statement_status_start varchar(19)"
)
_STATUS_OF_2019 = _STATUS_OF_MAY_2024.replace("_", "+").replace("service text", "service+id text")
_LOCKS = (
    "statement_id text!, statement_string text, username text, server text, port text, locked_object text, lockmode varchar(9),"
    " statement_start_time varchar(19), lock_start_time varchar(19)"
)
_LOCKS_OF_MAY_2024 = (
    "statement+id text!, statement+string text, username text, server text, port text, locked+object text, lock+mode varchar(9),"
    " statement+start+time varchar(19), lock+start+time varchar(19)"
)
_LOCKS_OF_2019 = _LOCKS.replace("statement_id", "stmt_id").replace("statement_string", "stmt_string")
_LICENCE_OF_4_6 = (
    "compressed_cluster_size bigint, uncompressed_cluster_size bigint, compress_type text, cluster_size_limit bigint,"
    " expiration_date varchar(10), is_date_expired int, is_size_exceeded int, cluster_size_left bigint"
)
_LICENCE = f"{_LICENCE_OF_4_6}, data_read_size_limit bigint, data_write_size_limit bigint, gpu_limit int"

DEFAULTS = (
    Function(
        "show_server_status",
        since({"2019": _STATUS_OF_2019, "2024-05": _STATUS_OF_MAY_2024, "4.6": _STATUS}),
        _status_rows,
        invent=_invented_status,
    ),
    Function(
        "show_locks",
        since(
            {
                "2019": _LOCKS_OF_2019,
                "2024-05": _LOCKS_OF_MAY_2024,
                "4.6": _LOCKS,
                "4.7": f"{_LOCKS_OF_MAY_2024}, is_statement_active int, is_snapshot_active int",
            }
        ),
        _lock_rows,
        invent=_invented_locks,
    ),
    Function(
        "get_leveldb_stats",
        since(
            {
                "2024-05": "timestamp varchar(19), server_ip text, server_port int, msg text, count bigint, average double, max double,"
                " max_timestamp varchar(19), variance double"
            }
        ),
        _stats_rows,
    ),
    Function(
        "show_cluster_nodes",
        always("server_ip text, server_port int, connection_id int, instance_id text, last_heartbeat int, connection_status text"),
        _node_rows,
    ),
    Function("get_license_info", since({"2024-05": _LICENCE, "4.6": _LICENCE_OF_4_6, "4.7": _LICENCE}), _licence_rows),
    Function("reset_leveldb_stats", since({"2024-05": "reset_leveldb_stats text"}), _reset),
)
