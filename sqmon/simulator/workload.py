"""What users do on the simulated cluster: statements, and the locks they take."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Optional

USERS = ("etl", "reporting", "analyst", "maintenance_user", "sqream")
TABLES = ("nba", "calls", "customers", "cdr_daily", "t")
PREPARING = "Preparing"
IN_QUEUE = "In queue"
INITIALIZING = "Initializing"
EXECUTING = "Executing"
LONG_CHANCE = 0.005

_READS = (
    "select account, sum(amount) from public.{table} group by account;",
    "select count(*) from public.{table} where city = 'Zürich';",
    'select "name",\n  max(age)\nfrom public.{table}\ngroup by 1;',
)
_INSERTS = (
    "copy public.{table} from wrapper csv_fdw options (location = '/data/{table}/*.csv');",
    "insert into public.{table} select * from public.{table}_staging;",
)
_UPDATES = ("update public.{table} set valid = 0 where id < 1000;", "delete from public.{table} where age > 90;")
_DEFINITIONS = ("create or replace table public.{table} as select * from public.{table}_staging;",)
_KINDS = (("read", 0.40, _READS), ("insert", 0.35, _INSERTS), ("update", 0.15, _UPDATES), ("define", 0.10, _DEFINITIONS))


@dataclass
class Node:
    """A worker of the cluster; `up` is false while its process is away."""

    instance: str
    ip: str
    port: int
    connection_id: int
    services: tuple[str, ...]
    heartbeat: float
    up: bool = True
    statement: Optional[Statement] = None


@dataclass
class Statement:
    """A statement on its way from arrival to end; `node` is None until a worker takes it."""

    id: int
    text: str
    kind: str
    table: str
    user: str
    database: str
    service: str
    client_ip: str
    connection_id: int
    seconds: float
    started: float
    status: str = PREPARING
    status_since: float = 0.0
    node: Optional[Node] = None

    def enter(self, status: str, at: float) -> None:
        """Give the statement this status since `at`."""
        self.status = status
        self.status_since = at


@dataclass
class Lock:
    """A lock of a statement; `active` turns false when the statement ends and the lock does not."""

    statement: Statement
    server: str
    port: int
    object: str
    mode: str
    taken: float
    active: bool = True
    snapshot: bool = True


def arrive(chance: random.Random, *, statement_id: int, connection_id: int, database: str, service: str, at: float) -> Statement:
    """Return a statement of some user, short as most are, or now and then long."""
    kind, _, texts = chance.choices(_KINDS, weights=[weight for _, weight, _ in _KINDS])[0]
    table = chance.choice(TABLES)
    seconds = chance.uniform(30, 120) if chance.random() < LONG_CHANCE else min(chance.lognormvariate(0.2, 1.0), 60.0)
    return Statement(
        id=statement_id,
        text=chance.choice(texts).format(table=table),
        kind=kind,
        table=table,
        user=chance.choice(USERS),
        database=database,
        service=service,
        client_ip=f"192.168.1.{chance.randint(10, 60)}",
        connection_id=connection_id,
        seconds=seconds,
        started=at,
        status_since=at,
    )


def locks_of(statement: Statement, node: Node, at: float) -> list[Lock]:
    """Return the locks that this statement takes on its way into execution; reading takes none."""
    database, table = statement.database, statement.table
    wanted = {
        "read": [],
        "insert": [(f"table${database}$public${table}$Insert", "Inclusive")],
        "update": [(f"table${database}$public${table}$Update", "Exclusive")],
        "define": [
            (f"schema${database}$public", "Inclusive"),
            (f"table${database}$public${table}$Insert", "Exclusive"),
            (f"table${database}$public${table}$Update", "Exclusive"),
        ],
    }[statement.kind]
    if wanted:
        wanted = [(f"database${database}", "Inclusive"), ("globalpermission$", "Inclusive"), *wanted]
    return [Lock(statement, node.ip, node.port, name, mode, at) for name, mode in wanted]
