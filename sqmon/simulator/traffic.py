"""The course of statements: prepared, waiting for locks, queued, running, ended."""

from __future__ import annotations

import random
from functools import partial
from typing import Callable, Sequence

from sqmon.simulator import workload
from sqmon.simulator.agenda import Agenda
from sqmon.simulator.lock_rules import wanted
from sqmon.simulator.lock_table import Lock, LockTable
from sqmon.simulator.metadata import CHECK_LOCKS
from sqmon.simulator.truth import Truth
from sqmon.simulator.workload import Node, Statement


class Traffic:
    """The statements of the cluster and their locks; `done` is called with each statement that ran to its end."""

    def __init__(
        self,
        agenda: Agenda,
        truth: Truth,
        nodes: Sequence[Node],
        *,
        chance: random.Random,
        done: Callable[[Statement, Sequence[Lock], float], None],
        measure: Callable[[Node, str, float], None],
    ) -> None:
        self._agenda = agenda
        self._truth = truth
        self._nodes = nodes
        self._chance = chance
        self._done = done
        self._measure = measure
        self._queue: list[Statement] = []
        self.lock_timeout = 3.0
        self.locks = LockTable(truth)
        self.statements: dict[int, Statement] = {}

    def arrive(self, statement: Statement, at: float, source: str) -> None:
        """Take a new statement in; `source` is for the truth and says where it comes from."""
        self.statements[statement.id] = statement
        statement.span = self._truth.begin("statements", at, statement_id=str(statement.id), source=source)
        self._agenda.later(at, statement.prepare_seconds, partial(self._ask_for_locks, statement))

    def end(self, statement: Statement, at: float, *, killed: bool = False) -> None:
        """End the statement wherever it is; its locks are released or left behind, all of them if its worker was killed."""
        if not self._forget(statement, at):
            return
        held = self.locks.of(statement)
        orphans = self._orphans(statement, held, at, killed=killed)
        if statement.node is not None:
            statement.node.statement = None
            if not killed:
                self._done(statement, held, at)
        self.locks.release(statement, at, orphans=orphans, snapshot=killed)
        self._go_on(at)

    def assign(self, at: float) -> None:
        """Give every free worker the oldest statement of its services."""
        for node in self._nodes[1:]:
            if not node.up or node.statement is not None:
                continue
            statement = next((waiting for waiting in self._queue if waiting.service in node.services), None)
            if statement is not None:
                self._queue.remove(statement)
                self._start(statement, node, at)

    def clear(self) -> None:
        """Forget every statement and lock, as a server does that stops."""
        self.statements.clear()
        self._queue.clear()
        self.locks.clear()

    def _forget(self, statement: Statement, at: float) -> bool:
        """Take the statement out of the table of statements, and return whether it was there."""
        if self.statements.pop(statement.id, None) is None:
            return False
        self._truth.end(statement.span, at)
        self.locks.give_up(statement, at, "stopped")
        if statement in self._queue:
            self._queue.remove(statement)
        return True

    def _orphans(self, statement: Statement, held: Sequence[Lock], at: float, *, killed: bool) -> Sequence[Lock]:
        """Return the locks that stay, and plan their release."""
        seconds = statement.orphan_seconds
        if not held or (seconds is None and not killed):
            return ()
        if seconds is None:
            seconds = self._chance.uniform(*workload.ORPHANED_SECONDS)
        self._agenda.later(at, seconds, partial(self._release, statement))
        return held if killed or statement.orphans_all else held[-1:]

    def _release(self, statement: Statement, at: float) -> None:
        self.locks.release(statement, at)
        self._go_on(at)

    def _go_on(self, at: float) -> None:
        """Let in the statements that waited for what is free now, and give free workers work."""
        for statement in self.locks.let_in(at):
            self._enqueue(statement, at)
        self.assign(at)

    def _ask_for_locks(self, statement: Statement, at: float) -> None:
        if statement.id not in self.statements:
            return
        locks = wanted(statement.text, statement.database)
        for _ in locks:
            self._measure(statement.entry, CHECK_LOCKS, at)
        if self.locks.request(statement, locks, at):
            self._enqueue(statement, at)
            self.assign(at)
        else:
            self._agenda.later(at, self.lock_timeout, partial(self._time_out, statement))

    def _time_out(self, statement: Statement, at: float) -> None:
        if self.locks.give_up(statement, at, "timed_out"):
            self._forget(statement, at)

    def _enqueue(self, statement: Statement, at: float) -> None:
        statement.enter(workload.IN_QUEUE, at)
        self._queue.append(statement)

    def _start(self, statement: Statement, node: Node, at: float) -> None:
        node.statement, statement.node = statement, node
        statement.enter(workload.INITIALIZING, at)
        self._agenda.later(at, statement.initialize_seconds, partial(statement.enter, workload.EXECUTING))
        if statement.seconds is not None:
            self._agenda.later(at, statement.initialize_seconds + statement.seconds, partial(self.end, statement))
