"""All lifetimes of a cluster, from its good polls in the order in which they ended."""

from __future__ import annotations

from typing import Iterable, Iterator

import msgspec

from sqmon.clock import STEP_NS, stamp_ns, utc_stamp
from sqmon.lifetimes import licence, locks, nodes, statements
from sqmon.lifetimes.licence import Licence, LicenceState
from sqmon.lifetimes.lines import Line
from sqmon.lifetimes.lock_graph import LockGraph, LockGraphState
from sqmon.lifetimes.locks import Locks, LocksState
from sqmon.lifetimes.nodes import Nodes
from sqmon.lifetimes.polls import Poll
from sqmon.lifetimes.population import PopulationState
from sqmon.lifetimes.restarts import Restarts, RestartsState
from sqmon.lifetimes.server_clock import ServerClock, ServerClockState
from sqmon.lifetimes.statements import Statements, StatementsState, of_users, own_statement

METRICS = (locks.METRIC, statements.METRIC, nodes.METRIC, licence.METRIC)
"""The metrics whose polls have lifetimes."""


class LifetimesState(msgspec.Struct):
    """Everything that the lines to come depend on, beside the polls to come."""

    clock: ServerClockState
    restarts: RestartsState
    locks: LocksState
    statements: StatementsState
    nodes: PopulationState
    licence: LicenceState
    graph: LockGraphState


class Lifetimes:
    """The state of a cluster as its polls have shown it; the same polls in the same order give the same lines.

    What is kept is what is there now, so memory depends on the cluster and not on how long it is watched.
    """

    def __init__(self) -> None:
        self._clock = ServerClock()
        self._restarts = Restarts()
        self._locks = Locks(self._clock, self._restarts)
        self._statements = Statements(self._clock, self._restarts)
        self._nodes = Nodes()
        self._licence = Licence()
        self._graph = LockGraph()
        self._last_ns = 0

    def state(self) -> LifetimesState:
        """Return what another one can go on from; it changes with the next poll, so encode it at once."""
        return LifetimesState(
            self._clock.state(),
            self._restarts.state(),
            self._locks.state(),
            self._statements.state(),
            self._nodes.state(),
            self._licence.state(),
            self._graph.state(),
        )

    def resume(self, state: LifetimesState, *, last_ns: int) -> None:
        """Go on from there; `last_ns` is the time of the newest line."""
        self._clock.resume(state.clock)
        self._restarts.resume(state.restarts)
        self._locks.resume(state.locks)
        self._statements.resume(state.statements)
        self._nodes.resume(state.nodes)
        self._licence.resume(state.licence)
        self._graph.resume(state.graph, self._locks.members, {member.key: member for member in self._statements.members})
        self._last_ns = last_ns

    def take(self, poll: Poll) -> list[Line]:
        """Return the lines of what a good poll reveals; their `ts` increase strictly, unless the host's clock was set back."""
        return [*self.lines(poll)]

    def lines(self, poll: Poll) -> Iterator[Line]:
        """Yield the same one by one, since a night's locks may all go in one poll; the poll is taken when all have been asked for."""
        for line in self._taken(poll):
            yield self.stamped(line, poll)

    def unfinished(self) -> list[Line]:
        """Return a line for everything that goes on: locks held, statements, waits and nodes that are up, each as of its newest poll."""
        machines = (self._locks, self._statements, self._graph, self._nodes)
        return [line for machine in machines for line in machine.unfinished()]

    def _taken(self, poll: Poll) -> Iterator[Line]:
        if poll.metric == locks.METRIC:
            yield from self._locks.take(poll)
            yield from self._graph.locks(poll, self._locks.members)
        elif poll.metric == statements.METRIC:
            yield from self._statements_of(poll)
        elif poll.metric == nodes.METRIC:
            yield from self._nodes.take(poll)
        elif poll.metric == licence.METRIC:
            yield from self._licence.take(poll)

    def _statements_of(self, poll: Poll) -> Iterable[Line]:
        own = own_statement(poll)
        if own is not None:
            yield from self._restarts.take(poll, own.number, own.start_s)
            if own.start_s is not None:
                yield from self._clock.take(poll, own.start_s)
        yield from self._statements.take(poll, of_users(poll, own))
        members = self._statements.members
        yield from self._locks.running(poll, {str(member.key[0]) for member in members})
        yield from self._graph.statements(poll, members, own.start_s if own is not None else None)

    def stamped(self, line: Line, poll: Poll) -> Line:
        """Give the next line its time: that of its poll, or the earliest one after the line before."""
        if self._last_ns - poll.began_ns > STEP_NS:
            self._last_ns = poll.began_ns - 1
        self._last_ns = max(self._last_ns + 1, stamp_ns(line["ts"]))
        line["ts"] = utc_stamp(self._last_ns)
        return line
