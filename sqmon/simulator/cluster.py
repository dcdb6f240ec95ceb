"""The simulated cluster: statements arrive, wait for locks, run and end; nodes come and go; the licence fills up."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from functools import partial
from typing import Any, Callable, Optional, Sequence

from sqmon.simulator import metadata, workload
from sqmon.simulator.agenda import Agenda
from sqmon.simulator.life import FURTHEST, Life
from sqmon.simulator.lock_table import Lock
from sqmon.simulator.metadata import MetadataStats
from sqmon.simulator.server_clock import ServerClock
from sqmon.simulator.traffic import Traffic
from sqmon.simulator.truth import Span, Truth
from sqmon.simulator.workload import Node, Statement

# History before the first question, so that it meets a cluster at work.
WARM_UP = 120.0
HEARTBEAT_EVERY = 5.0
# A silent node stays listed this long.
LISTED_SECONDS = 15.0
BETWEEN_ARRIVALS = 1.5
BETWEEN_OUTAGES = 600.0
GROWTH_GB = 0.02
LICENCE_LIMIT_GB = 5000.0
COMPRESSION = 4.2
WORKERS = 3


class Cluster:
    """A cluster's history, reproducible: the same seed, orders and clock readings give the same one."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        seed: int,
        databases: Sequence[str],
        services: Sequence[str],
        life: Life = Life(),  # noqa: B008 - frozen
    ) -> None:
        self._agenda = Agenda(clock)
        self._chance = random.Random(seed)
        self.seed = seed
        self.databases = tuple(databases)
        self._statement_ids = itertools.count()
        self._connection_ids = itertools.count(1000)
        self._outages: dict[str, Span] = {}
        self.life = life
        self.server_clock = ServerClock(life.clock_skew, life.time_zone)
        self.truth = Truth()
        self.stats = MetadataStats()
        self.compressed_gb = self._chance.uniform(3000.0, 3200.0)
        self.expires = self.now + 400 * 86400.0
        self.services = tuple(services)
        start = self.now - WARM_UP
        self.nodes = self._built_nodes(start)
        self._traffic = Traffic(self._agenda, self.truth, self.nodes, chance=self._chance, done=self._done, measure=self._measure)
        self._traffic.lock_timeout = life.statement_lock_timeout
        self._begin(start)
        self._agenda.later(start, WARM_UP + self._chance.expovariate(1 / BETWEEN_OUTAGES), self._break)
        self.advance()

    def _built_nodes(self, at: float) -> list[Node]:
        """Return this worker, which runs only utility functions, followed by those that do the work."""
        work = tuple(name for name in self.services if name != "monitor") or self.services
        ids = self._chance.sample(range(1000, 10000), WORKERS + 1)
        here = Node(f"node_{ids[0]}", "127.0.0.1", 5000, self.next_connection_id(), self.services, at)
        return [here] + [
            Node(f"node_{number}", f"192.168.0.{111 + index}", 5000, self.next_connection_id(), work, at)
            for index, number in enumerate(ids[1:])
        ]

    def _begin(self, at: float) -> None:
        """Let hearts beat and statements arrive."""
        for node in self.nodes:
            self._agenda.later(at, self._chance.uniform(0, HEARTBEAT_EVERY), partial(self._beat, node))
        self._agenda.later(at, self._chance.expovariate(1 / BETWEEN_ARRIVALS), self._arrive)

    @property
    def now(self) -> float:
        """The time until which everything has happened."""
        return self._agenda.now

    @property
    def statements(self) -> dict[int, Statement]:
        """The statements that have not ended, by id."""
        return self._traffic.statements

    @property
    def locks(self) -> list[Lock]:
        """The locks that are held, in the order in which they were obtained."""
        return self._traffic.locks.held

    @property
    def uncompressed_gb(self) -> float:
        """What the stored data would take without compression."""
        return self.compressed_gb * COMPRESSION

    @property
    def here(self) -> Node:
        """The worker that answers the client."""
        return self.nodes[0]

    def next_statement_id(self) -> int:
        """Return a number that is unique until the server restarts; users' statements and ours share the numbers."""
        return next(self._statement_ids)

    def next_connection_id(self) -> int:
        """Return a number that is unique until the server restarts."""
        return next(self._connection_ids)

    def advance(self) -> float:
        """Let everything happen that is due by the clock's time, and return that time."""
        return self._agenda.advance()

    def listed_nodes(self) -> list[Node]:
        """Return the nodes that the cluster knows of; a dead one is listed for a while, then it is gone."""
        return [node for node in self.nodes if node.up or self.now - node.heartbeat <= LISTED_SECONDS]

    def configure(self, **settings: Any) -> None:
        """Change settings of the life from now on; raises ValueError, and changes nothing, when one is out of range."""
        life = replace(self.life, **settings)
        at = self.advance()
        self.life = life
        self._traffic.lock_timeout = life.statement_lock_timeout
        self.server_clock.set(at, life.clock_skew, life.time_zone)

    def order(
        self,
        sql: str,
        *,
        seconds: Optional[float] = 1.0,
        user: str = "etl",
        database: Optional[str] = None,
        service: Optional[str] = None,
        orphan_seconds: Optional[float] = None,
    ) -> int:
        """Let this statement arrive now, and return its id; see Orders.run. Raises ValueError for what the cluster doesn't have."""
        for name, value in (("seconds", seconds), ("orphan_seconds", orphan_seconds)):
            if value is not None and not 0 <= value <= FURTHEST:
                raise ValueError(f"{name} of a statement is 0 or more, not {value}")
        database, service = database or self.databases[0], service or self.nodes[1].services[0]
        if database not in self.databases:
            raise ValueError(f"unknown database {database!r}: one of {', '.join(self.databases)}")
        if service not in self.nodes[1].services:
            raise ValueError(f"no worker runs statements of the service {service!r}: one of {', '.join(self.nodes[1].services)}")
        at = self.advance()
        number = self.next_statement_id()
        statement = Statement(
            id=number,
            text=sql,
            user=user,
            database=database,
            service=service,
            client_ip="192.168.1.10",
            connection_id=self.next_connection_id(),
            entry=self.nodes[1 + number % WORKERS],
            started=at,
            seconds=seconds,
            orphan_seconds=orphan_seconds,
            orphans_all=True,
            status_since=at,
        )
        self._traffic.arrive(statement, at, "run")
        self.advance()
        return number

    def end(self, number: str) -> None:
        """End this statement now; raises ValueError when there is none."""
        at = self.advance()
        statement = next((known for known in self.statements.values() if str(known.id) == number), None)
        if statement is None:
            raise ValueError(f"no statement {number} is under way")
        self._traffic.end(statement, at)
        self.advance()

    def restart(self) -> None:
        """Let the server stop and start again at once: statements and locks are gone, ids begin anew, what is stored stays."""
        at = self.advance()
        self.truth.restart(at)
        self._agenda.clear()
        self._traffic.clear()
        self.stats.reset()
        self._statement_ids, self._connection_ids = itertools.count(), itertools.count(1000)
        for node in self.nodes:
            node.statement = None
            self._come_up(node, at)
        self._begin(at)
        self._agenda.later(at, self._chance.expovariate(1 / BETWEEN_OUTAGES), self._break)

    def take_down(self, node: Node, seconds: float) -> None:
        """Let the node's process die now, and come back after `seconds`; its statement dies with it, its locks stay."""
        if not node.up or node is self.here:
            return
        node.up = False
        self._outages[node.instance] = self.truth.begin("outages", self.now, instance_id=node.instance)
        if node.statement is not None:
            self._traffic.end(node.statement, self.now, killed=True)
        self._agenda.later(self.now, seconds, partial(self._return, node))

    def _measure(self, node: Node, message: str, at: float) -> None:
        self.stats.add(node.instance, message, self._chance.lognormvariate(0.0, 0.9), at)

    def _beat(self, node: Node, at: float) -> None:
        if node.up:
            node.heartbeat = at
            self._measure(node, metadata.HEARTBEAT, at)
        self._agenda.again(at, HEARTBEAT_EVERY, partial(self._beat, node))

    def _arrive(self, at: float) -> None:
        if not self.life.idle:
            statement = workload.arrive(
                self._chance,
                statement_id=self.next_statement_id(),
                connection_id=self.next_connection_id(),
                database=self._chance.choice(self.databases),
                service=self._chance.choice(self.nodes[1].services),
                entry=self._chance.choice(self.nodes[1:]),
                at=at,
                contention=self.life.contention,
            )
            self._traffic.arrive(statement, at, "user")
            self._measure(self.here, metadata.READ_PREFIX, at)
        self._agenda.again(at, self._chance.expovariate(1 / BETWEEN_ARRIVALS), self._arrive)

    def _done(self, statement: Statement, held: Sequence[Lock], at: float) -> None:
        self._measure(statement.node or self.here, metadata.READ_MANY, at)
        self.compressed_gb += GROWTH_GB * any(lock.object.endswith("$Insert") for lock in held)

    def _break(self, at: float) -> None:
        if not self.life.idle:
            self.take_down(self._chance.choice(self.nodes[1:]), self._chance.uniform(30, 90))
        self._agenda.again(at, self._chance.expovariate(1 / BETWEEN_OUTAGES), self._break)

    def _return(self, node: Node, at: float) -> None:
        self._come_up(node, at)
        self._traffic.assign(at)

    def _come_up(self, node: Node, at: float) -> None:
        node.up, node.heartbeat, node.connection_id = True, at, self.next_connection_id()
        self.truth.end(self._outages.pop(node.instance, None), at)
