"""The living cluster: statements come, queue, run and end, locks follow them, nodes come and go, the licence fills up."""

from __future__ import annotations

import heapq
import itertools
import random
from functools import partial
from typing import Callable, Iterator, Sequence

from sqmon.simulator import metadata, workload
from sqmon.simulator.metadata import MetadataStats
from sqmon.simulator.workload import Lock, Node, Statement

# History before the first question, so that it meets a cluster at work.
WARM_UP = 120.0
# Arrivals and heartbeats further back than this are skipped when nobody asked for long.
CATCH_UP = 3600.0
HEARTBEAT_EVERY = 5.0
# A silent node stays listed this long.
LISTED_SECONDS = 15.0
BETWEEN_ARRIVALS = 1.5
BETWEEN_OUTAGES = 600.0
ORPHAN_CHANCE = 0.01
GROWTH_GB = 0.02
LICENCE_LIMIT_GB = 5000.0
COMPRESSION = 4.2
WORKERS = 3


class Cluster:
    """A cluster's history, reproducible: the same seed and the same clock readings give the same one."""

    def __init__(self, *, clock: Callable[[], float], seed: int, databases: Sequence[str], services: Sequence[str]) -> None:
        self._clock = clock
        self._chance = random.Random(seed)
        self._seed = seed
        self._databases = tuple(databases)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._statement_ids = itertools.count()
        self._connection_ids = itertools.count(1000)
        self.now = clock()
        self._target = self.now
        self.stats = MetadataStats()
        self.statements: dict[int, Statement] = {}
        self._queue: list[Statement] = []
        self.locks: list[Lock] = []
        self.compressed_gb = self._chance.uniform(3000.0, 3200.0)
        self.expires = self.now + 400 * 86400.0
        self.services = tuple(services)
        start = self.now - WARM_UP
        self.nodes = self._built_nodes(start)
        for node in self.nodes:
            self._later(start, self._chance.uniform(0, HEARTBEAT_EVERY), partial(self._beat, node))
        self._later(start, self._chance.expovariate(1 / BETWEEN_ARRIVALS), self._arrive)
        self._later(start, WARM_UP + self._chance.expovariate(1 / BETWEEN_OUTAGES), self._break)
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

    @property
    def uncompressed_gb(self) -> float:
        """What the stored data would take without compression."""
        return self.compressed_gb * COMPRESSION

    @property
    def here(self) -> Node:
        """The worker that answers the client."""
        return self.nodes[0]

    def next_statement_id(self) -> int:
        """Return a number that is unique in the cluster; users' statements and ours share the numbers."""
        return next(self._statement_ids)

    def next_connection_id(self) -> int:
        """Return a number that is unique in the cluster."""
        return next(self._connection_ids)

    def advance(self) -> float:
        """Let everything happen that is due by the clock's time, and return that time."""
        self._target = max(self.now, self._clock())
        while self._events and self._events[0][0] <= self._target:
            at, _, act = heapq.heappop(self._events)
            self.now = at
            act(at)
        self.now = self._target
        return self.now

    def listed_nodes(self) -> list[Node]:
        """Return the nodes that the cluster knows of; a dead one is listed for a while, then it is gone."""
        return [node for node in self.nodes if node.up or self.now - node.heartbeat <= LISTED_SECONDS]

    def take_down(self, node: Node, seconds: float) -> None:
        """Let the node's process die now, and come back after `seconds`; its statement dies with it, its locks stay."""
        if not node.up or node is self.here:
            return
        node.up = False
        if node.statement is not None:
            self._end(node.statement, self.now, killed=True)
        self._later(self.now, seconds, lambda at: self._return(node, at))

    def invent_statements(self, count: int) -> Iterator[Statement]:
        """Yield that many statements that are not part of the cluster's history, for tables of any size."""
        chance = random.Random(self._seed)
        for index in range(count):
            statement = workload.arrive(
                chance,
                statement_id=1_000_000 + index,
                connection_id=100_000 + index,
                database=self._databases[0],
                service=self.services[0],
                at=self.now - chance.uniform(1, 600),
            )
            statement.enter(workload.EXECUTING, statement.started + 0.2)
            statement.node = self.nodes[1 + index % WORKERS]
            yield statement

    def invent_locks(self, count: int) -> list[Lock]:
        """Return that many locks of invented statements."""
        locks: list[Lock] = []
        # More than four in ten take locks, three at least: this ends long before the bound.
        for statement in self.invent_statements(10 * count + 100):
            locks += workload.locks_of(statement, statement.node or self.here, statement.started + 0.1)
            if len(locks) >= count:
                break
        return locks[:count]

    def _later(self, at: float, delay: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at + delay, next(self._order), act))

    def _again(self, at: float, delay: float, act: Callable[[float], None]) -> None:
        """Like _later, for events that recur for ever: after a long silence most of them are skipped."""
        self._later(max(at, self._target - CATCH_UP), delay, act)

    def _measure(self, node: Node, message: str, at: float) -> None:
        self.stats.add(node.instance, message, self._chance.lognormvariate(0.0, 0.9), at)

    def _beat(self, node: Node, at: float) -> None:
        if node.up:
            node.heartbeat = at
            self._measure(node, metadata.HEARTBEAT, at)
        self._again(at, HEARTBEAT_EVERY, partial(self._beat, node))

    def _arrive(self, at: float) -> None:
        statement = workload.arrive(
            self._chance,
            statement_id=self.next_statement_id(),
            connection_id=self.next_connection_id(),
            database=self._chance.choice(self._databases),
            service=self._chance.choice(self.nodes[1].services),
            at=at,
        )
        self.statements[statement.id] = statement
        self._measure(self.here, metadata.READ_PREFIX, at)
        self._later(at, self._chance.uniform(0.05, 0.4), lambda later: self._enqueue(statement, later))
        self._again(at, self._chance.expovariate(1 / BETWEEN_ARRIVALS), self._arrive)

    def _enqueue(self, statement: Statement, at: float) -> None:
        statement.enter(workload.IN_QUEUE, at)
        self._queue.append(statement)
        self._assign(at)

    def _assign(self, at: float) -> None:
        """Give every free worker the oldest statement of its services."""
        for node in self.nodes[1:]:
            if not node.up or node.statement is not None:
                continue
            statement = next((waiting for waiting in self._queue if waiting.service in node.services), None)
            if statement is not None:
                self._queue.remove(statement)
                self._start(statement, node, at)

    def _start(self, statement: Statement, node: Node, at: float) -> None:
        node.statement, statement.node = statement, node
        statement.enter(workload.INITIALIZING, at)
        for lock in workload.locks_of(statement, node, at):
            self.locks.append(lock)
            self._measure(node, metadata.CHECK_LOCKS, at)
        ready = self._chance.uniform(0.05, 0.3)
        self._later(at, ready, lambda later: statement.enter(workload.EXECUTING, later))
        self._later(at, ready + statement.seconds, lambda later: self._end(statement, later))

    def _end(self, statement: Statement, at: float, *, killed: bool = False) -> None:
        """Remove the statement and its locks; sometimes one lock stays behind, and all of them do when the worker died."""
        if self.statements.pop(statement.id, None) is None or statement.node is None:
            return
        node, statement.node.statement = statement.node, None
        held = [lock for lock in self.locks if lock.statement is statement]
        if not killed:
            self._measure(node, metadata.READ_MANY, at)
            self.compressed_gb += GROWTH_GB * (statement.kind in ("insert", "define"))
        orphans = held if killed else held[-1:] if self._chance.random() < ORPHAN_CHANCE else []
        self.locks = [lock for lock in self.locks if lock.statement is not statement or lock in orphans]
        for lock in orphans:
            lock.active = False
            lock.snapshot = killed
        if orphans:
            self._later(at, self._chance.uniform(60, 300), lambda _: self._release(statement))
        self._assign(at)

    def _release(self, statement: Statement) -> None:
        self.locks = [lock for lock in self.locks if lock.statement is not statement]

    def _break(self, at: float) -> None:
        self.take_down(self._chance.choice(self.nodes[1:]), self._chance.uniform(30, 90))
        self._again(at, self._chance.expovariate(1 / BETWEEN_OUTAGES), self._break)

    def _return(self, node: Node, at: float) -> None:
        node.up, node.heartbeat, node.connection_id = True, at, self.next_connection_id()
        self._assign(at)
