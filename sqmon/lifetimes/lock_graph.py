"""The lock graph: which statements wait, for which lock, and who holds it.

`show_locks` shows locks that were obtained, never requests, so a wait is inferred: a statement is still being prepared, its text wants a
lock that it doesn't hold, and another statement holds one that conflicts.
"""

from __future__ import annotations

from typing import Any, Collection, Iterable, Mapping, NamedTuple, Optional

import msgspec

from sqmon.lifetimes.lines import Line, bounds, line
from sqmon.lifetimes.polls import Poll, Row, server_seconds, text_of
from sqmon.lifetimes.population import Key, Member
from sqmon.lifetimes.statements import said, status_of
from sqmon.lifetimes.wanted import conflict, wanted

_WAITING = ("preparing",)
_YOUNGEST_S = 1  # since it came into its status: a younger statement may merely be being compiled
_FRESH_NS = 10 * 10**9  # how old the newest poll of the other metric may be


class Held(NamedTuple):
    """A lock as the graph needs it."""

    statement_id: str
    mode: str
    start_s: Optional[int]
    """When it was taken by the server's clock, in seconds."""


class Blocker(NamedTuple):
    """A lock in the way, and the rule by which it is."""

    statement_id: str
    rule: str
    locked_object: str


class Wait(msgspec.Struct):
    """The wait of one statement."""

    key: Key
    row: Row
    began_after_ns: Optional[int]
    began_before_ns: int
    seen_ns: int
    seen_before_ns: int
    blockers: list[Blocker]
    """Those in the way now."""
    all_blockers: dict[str, None]
    """The numbers of all that were in the way."""
    objects: dict[str, None]
    """The objects on which they were."""
    polls_seen: int = 1
    stepped: bool = False

    @classmethod
    def of(cls, member: Member, poll: Poll, blockers: list[Blocker]) -> Wait:
        """Return the wait of a statement that this poll has revealed."""
        return cls(
            member.key,
            member.row,
            member.began_after_ns,
            poll.ended_ns,
            poll.began_ns,
            poll.ended_ns,
            blockers,
            dict.fromkeys(blocker.statement_id for blocker in blockers),
            dict.fromkeys(blocker.locked_object for blocker in blockers),
            stepped=member.stepped,
        )

    def seen(self, poll: Poll, blockers: list[Blocker]) -> None:
        """Take one more poll in which it waits."""
        self.seen_ns, self.seen_before_ns = poll.began_ns, poll.ended_ns
        self.polls_seen += 1
        self.blockers = blockers
        self.all_blockers.update(dict.fromkeys(blocker.statement_id for blocker in blockers))
        self.objects.update(dict.fromkeys(blocker.locked_object for blocker in blockers))


class LockGraphState(msgspec.Struct):
    """The newest polls, the statements that may wait and those that do."""

    locks: Optional[Poll]
    statements: Optional[Poll]
    candidates: list[Key]
    now_s: Optional[int]
    waits: list[Wait]


class LockGraph:
    """Who waits for whom, from the newest good polls of show_locks and show_server_status."""

    def __init__(self) -> None:
        self._locks: Optional[Poll] = None
        self._members: Collection[Member] = ()
        self._held: Optional[dict[str, list[Held]]] = None
        self._statements: Optional[Poll] = None
        self._candidates: dict[Key, Member] = {}
        self._now_s: Optional[int] = None
        self._waits: dict[Key, Wait] = {}

    def locks(self, poll: Poll, members: Collection[Member]) -> Iterable[Line]:
        """Take the locks of a good poll of show_locks."""
        self._locks, self._members, self._held = poll.bare(), members, None
        if not self._is_fresh(poll, self._statements):
            return
        for key, wait in [*self._waits.items()]:
            candidate = self._candidates.get(key)
            if candidate is not None and not self._blockers(candidate):
                yield self._over(poll, key, wait, "let_in" if self._has_its_locks(candidate) else "released")
        # A lock that was taken after the statements were listed can't have held up one of them then. One that was held then and is still
        # held stands in the way even of a statement that was only being compiled.
        yield from self._blocked(poll, self._candidates, until_s=self._now_s)

    def statements(self, poll: Poll, members: Collection[Member], now_s: Optional[int]) -> Iterable[Line]:
        """Take the users' statements of a good poll of show_server_status; `now_s` is its time by the server's clock, in seconds."""
        self._statements, self._now_s = poll.bare(), now_s
        self._candidates = {member.key: member for member in members if status_of(member.row).lower() in _WAITING and _wanted(member.row)}
        present = {member.key for member in members}
        fresh = self._is_fresh(poll, self._locks)
        for key, wait in [*self._waits.items()]:
            if key in self._candidates:
                blockers = self._blockers(self._candidates[key]) if fresh else wait.blockers
                wait.seen(poll, blockers or wait.blockers)
            else:
                yield self._over(poll, key, wait, "went_on" if key in present else "gone")
        if fresh:
            yield from self._blocked(poll, [key for key, member in self._candidates.items() if self._is_old(member.row)])

    def unfinished(self) -> Iterable[Line]:
        """Yield a line for each statement that waits, as of the newest poll."""
        if self._statements is not None:
            for wait in self._waits.values():
                yield self._line("statement_blocked", self._statements, wait, self._blocked_by(wait))

    def state(self) -> LockGraphState:
        """Return what another one can go on from."""
        return LockGraphState(self._locks, self._statements, [*self._candidates], self._now_s, [*self._waits.values()])

    def resume(self, state: LockGraphState, locks: Collection[Member], statements: Mapping[Key, Member]) -> None:
        """Go on from there; `locks` and `statements` are those of the newest polls."""
        self._locks, self._members, self._held = state.locks, locks, None
        self._statements, self._now_s = state.statements, state.now_s
        self._candidates = {key: statements[key] for key in state.candidates}
        self._waits = {wait.key: wait for wait in state.waits}

    def _blocked(self, poll: Poll, keys: Iterable[Key], until_s: Optional[int] = None) -> Iterable[Line]:
        assert self._statements is not None
        new = []
        for key in keys:
            member = self._candidates[key]
            blockers = [] if key in self._waits else self._blockers(member, until_s)
            if blockers:
                self._waits[key] = wait = Wait.of(member, self._statements, blockers)
                new.append(wait)
        for wait in new:
            yield self._line("statement_blocked", poll, wait, self._blocked_by(wait))

    def _is_old(self, row: Row) -> bool:
        """Whether a statement has been in its status for so long that it is not merely being compiled."""
        since = server_seconds(row.get("statementstatusstart"))
        return self._now_s is None or since is None or self._now_s - since >= _YOUNGEST_S

    def _holders(self, locked_object: str) -> list[Held]:
        """Those who hold a lock on an object; nobody asks while no statement wants any."""
        if self._held is None:
            self._held = {}
            for member in self._members:
                row = member.row
                held = Held(text_of(row.get("statement_id")), text_of(row.get("lock_mode")), server_seconds(row.get("lock_start_time")))
                self._held.setdefault(text_of(row.get("locked_object")), []).append(held)
        return self._held.get(locked_object, [])

    def _has_its_locks(self, member: Member) -> bool:
        number = text_of(member.row.get("statementid"))
        return any(held.statement_id == number for name in _wanted(member.row) for held in self._holders(name))

    def _blockers(self, member: Member, until_s: Optional[int] = None) -> list[Blocker]:
        """The locks in the way of a statement, in the order of the poll; none on an object on which it has got its own."""
        number, blockers = text_of(member.row.get("statementid")), []
        for name, mode in _wanted(member.row).items():
            holders = self._holders(name)
            if any(held.statement_id == number for held in holders):
                continue
            blockers += [
                Blocker(held.statement_id, f"{mode} wanted, {held.mode} held on {name}", name)
                for held in holders
                if conflict(mode, held.mode) and (until_s is None or held.start_s is None or held.start_s <= until_s)
            ]
        return blockers

    def _over(self, poll: Poll, key: Key, wait: Wait, end: str) -> Line:
        fields = {**self._blocked_by(wait), "blocked_by": ",".join(wait.all_blockers), "end": end}
        del self._waits[key]
        return self._line("statement_unblocked", poll, wait, fields, gone_before_ns=poll.ended_ns)

    def _blocked_by(self, wait: Wait) -> dict[str, Any]:
        by_number = {text_of(other.row.get("statementid")): other for other in self._waits.values()}
        root, depth = _root(wait, by_number)
        return {
            "blocked_by": ",".join(dict.fromkeys(blocker.statement_id for blocker in wait.blockers)),
            "locked_object": ",".join(wait.objects),
            "root": root,
            "depth": depth,
            "rule": wait.blockers[0].rule,
        }

    def _line(self, event: str, poll: Poll, wait: Wait, fields: Mapping[str, Any], *, gone_before_ns: Optional[int] = None) -> Line:
        life = bounds(
            wait.began_after_ns, wait.began_before_ns, wait.seen_ns, gone_before_ns, so_far_ns=wait.seen_before_ns, stepped=wait.stepped
        )
        return line(event, poll, {**said(wait.row), **fields, **life, "polls_seen": wait.polls_seen}, certainty="inferred", level="warning")

    def _is_fresh(self, poll: Poll, other: Optional[Poll]) -> bool:
        return other is not None and abs(poll.began_ns - other.ended_ns) <= _FRESH_NS


def _wanted(row: Row) -> Mapping[str, str]:
    return wanted(text_of(row.get("statement")), text_of(row.get("database_name")))


def _root(wait: Wait, by_number: Mapping[str, Wait]) -> tuple[str, int]:
    """Return the first blocker that does not wait itself, and how many steps it is away."""
    number, depth, passed = wait.blockers[0].statement_id, 1, set()
    while number in by_number and number not in passed:
        passed.add(number)
        number, depth = by_number[number].blockers[0].statement_id, depth + 1
    return number, depth
