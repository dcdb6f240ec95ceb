"""The workload: the statements that users send, and the workers that run them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Optional

from sqmon.simulator.truth import Span

USERS = ("etl", "reporting", "analyst", "maintenance_user", "sqream")
TABLES = ("nba", "calls", "customers", "cdr_daily", "t")
PREPARING = "Preparing"
IN_QUEUE = "In queue"
INITIALIZING = "Initializing"
EXECUTING = "Executing"
LONG_CHANCE = 0.005
ORPHAN_CHANCE = 0.01
# How long a lock without its statement stays until somebody removes it.
ORPHANED_SECONDS = (60.0, 300.0)

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
_KINDS = (_READS, _INSERTS, _UPDATES, _DEFINITIONS)
_SHARES = (0.40, 0.35, 0.15, 0.10)


@dataclass(eq=False)
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


@dataclass(eq=False)
class Statement:
    """A statement on its way from arrival to end.

    `entry` is the worker that accepted it, `node` the one that runs it, None until then. `seconds` counts from the start of
    the execution; None is until somebody ends it. With `orphan_seconds`, locks outlive it for so long: the last one of a
    user's statement, and all of one that a test has ordered.
    """

    id: int
    text: str
    user: str
    database: str
    service: str
    client_ip: str
    connection_id: int
    entry: Node
    started: float
    seconds: Optional[float]
    prepare_seconds: float = 0.0
    initialize_seconds: float = 0.0
    orphan_seconds: Optional[float] = None
    orphans_all: bool = False
    status: str = PREPARING
    status_since: float = 0.0
    node: Optional[Node] = None
    span: Optional[Span] = None

    def enter(self, status: str, at: float) -> None:
        """Give the statement this status since `at`."""
        self.status = status
        self.status_since = at


def arrive(
    chance: random.Random,
    *,
    statement_id: int,
    connection_id: int,
    database: str,
    service: str,
    entry: Node,
    at: float,
    contention: float = 0.0,
) -> Statement:
    """Return a statement of some user, short as most are, or now and then long; that share of them wants the same lock."""
    hot = chance.random() < contention
    texts = _UPDATES if hot else chance.choices(_KINDS, weights=_SHARES)[0]
    table = TABLES[0] if hot else chance.choice(TABLES)
    long = chance.random() < LONG_CHANCE
    return Statement(
        id=statement_id,
        text=chance.choice(texts).format(table=table),
        user=chance.choice(USERS),
        database=database,
        service=service,
        client_ip=f"192.168.1.{chance.randint(10, 60)}",
        connection_id=connection_id,
        entry=entry,
        started=at,
        seconds=chance.uniform(30, 120) if long else min(chance.lognormvariate(0.2, 1.0), 60.0),
        prepare_seconds=chance.uniform(0.05, 0.4),
        initialize_seconds=chance.uniform(0.05, 0.3),
        orphan_seconds=chance.uniform(*ORPHANED_SECONDS) if chance.random() < ORPHAN_CHANCE and not hot else None,
        status_since=at,
    )
