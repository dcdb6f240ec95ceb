"""The lock table: it grants locks, lets statements wait for them, and never lets two conflicting ones be held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from sqmon.simulator.lock_rules import Wanted, conflict
from sqmon.simulator.truth import Span, Truth
from sqmon.simulator.workload import Statement


@dataclass
class Lock:
    """A lock that a statement has obtained; `active` turns false when the statement ends and the lock does not."""

    statement: Statement
    server: str
    port: int
    object: str
    mode: str
    taken: float
    active: bool = True
    snapshot: bool = True
    span: Optional[Span] = None


@dataclass
class _Wait:
    statement: Statement
    wanted: Wanted
    span: Span


def locks_of(statement: Statement, wanted: Wanted, at: float) -> list[Lock]:
    """Return these locks as the statement holds them; the server is the worker that accepted it."""
    return [Lock(statement, statement.entry.ip, statement.entry.port, name, mode, at) for name, mode in wanted]


class LockTable:
    """Each statement gets all locks that it wants, or none and waits.

    Waiting statements get their locks in the order in which they began to wait. A newcomer that conflicts with no lock that
    is held doesn't wait behind them: only locks that are held stand in its way.
    """

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.held: list[Lock] = []
        self._waits: list[_Wait] = []

    def request(self, statement: Statement, wanted: Wanted, at: float) -> bool:
        """Return whether the statement has got its locks; otherwise it waits from now on."""
        blockers = self._blockers(wanted, self.held)
        if not blockers:
            self._grant(statement, wanted, at)
            return True
        span = self._truth.begin("waits", at, statement_id=str(statement.id), blocked_by=blockers, outcome=None)
        self._waits.append(_Wait(statement, wanted, span))
        return False

    def give_up(self, statement: Statement, at: float, outcome: str) -> bool:
        """End the statement's wait, and return whether it was waiting."""
        for wait in self._waits:
            if wait.statement is statement:
                self._waits.remove(wait)
                self._truth.end(wait.span, at, outcome=outcome)
                return True
        return False

    def let_in(self, at: float) -> list[Statement]:
        """Give locks to the waiting statements that can have them now, and return these in their order."""
        admitted = []
        for wait in list(self._waits):
            if not self._blockers(wait.wanted, self.held):
                self.give_up(wait.statement, at, "let_in")
                self._grant(wait.statement, wait.wanted, at)
                admitted.append(wait.statement)
        return admitted

    def of(self, statement: Statement) -> list[Lock]:
        """Return the locks that the statement holds, or has left behind."""
        return [lock for lock in self.held if lock.statement is statement]

    def release(self, statement: Statement, at: float, *, orphans: Sequence[Lock] = (), snapshot: bool = False) -> None:
        """Release the statement's locks but for `orphans`, which stay behind without it."""
        for lock in self.of(statement):
            if lock in orphans:
                lock.active, lock.snapshot = False, snapshot
            else:
                self.held.remove(lock)
                self._truth.end(lock.span, at)

    def clear(self) -> None:
        """Forget every lock and every wait, as a server does that stops; the truth has been told."""
        self.held.clear()
        self._waits.clear()

    def _grant(self, statement: Statement, wanted: Wanted, at: float) -> None:
        new = locks_of(statement, wanted, at)
        for lock in new:
            lock.span = self._truth.begin("locks", at, statement_id=str(statement.id), locked_object=lock.object, lock_mode=lock.mode)
        self.held += new
        for wait in self._waits:
            known = wait.span.facts["blocked_by"]
            known += [blocker for blocker in self._blockers(wait.wanted, new) if blocker not in known]

    def _blockers(self, wanted: Wanted, held: Sequence[Lock]) -> list[str]:
        """Return the ids of the statements whose locks stand in the way, in the order in which they got them."""
        modes = dict(wanted)
        found = [lock.statement for lock in held if lock.object in modes and conflict(modes[lock.object], lock.mode)]
        return list(dict.fromkeys(str(statement.id) for statement in found))
