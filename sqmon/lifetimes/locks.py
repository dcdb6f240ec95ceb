"""What becomes of locks: acquired, held for so long, orphaned, released."""

from __future__ import annotations

from typing import Any, Collection, Iterable, NamedTuple, Optional

import msgspec

from sqmon.lifetimes.lines import Certainty, Line, life, line
from sqmon.lifetimes.milestones import level_of_lock, milestone
from sqmon.lifetimes.polls import Poll, Row, server_seconds, text_of
from sqmon.lifetimes.population import Key, Member, Population, PopulationState
from sqmon.lifetimes.restarts import Restarts
from sqmon.lifetimes.server_clock import ServerClock

METRIC = "show_locks"

_KEY = ("statement_id", "statement_start_time", "locked_object", "lock_mode", "lock_start_time")
_INACTIVE = (0, "0", "false")


class Lock(msgspec.Struct, gc=False):
    """What is known of one lock beside its bounds."""

    start_s: Optional[int]
    """When it was taken by the server's clock, in seconds."""
    told_s: int = 0
    """The longest milestone that was told."""
    orphaned: bool = False
    suspect_ns: Optional[int] = None
    """The end of a poll that saw the lock after a poll of the statements had not seen its holder."""


class Running(NamedTuple):
    """Which statements a poll of show_server_status saw."""

    ended_ns: int
    statement_ids: set[str]


class LocksState(msgspec.Struct):
    """The locks of the newest poll, and what is known of each in their order."""

    population: PopulationState
    locks: list[Lock]
    columns: list[str]
    running: Optional[tuple[int, list[str]]]
    """As Running, the ids in a fixed order."""


class Locks:
    """The locks of a cluster; a lock that comes again with another start is another lock."""

    def __init__(self, clock: ServerClock, restarts: Restarts) -> None:
        self._clock = clock
        self._restarts = restarts
        self._population = Population()
        self._locks: dict[Key, Lock] = {}
        self._columns: frozenset[str] = frozenset()
        self._running: Optional[Running] = None

    @property
    def members(self) -> Collection[Member]:
        """The locks of the newest poll."""
        return self._population.members.values()

    def take(self, poll: Poll) -> Iterable[Line]:
        """Take a good poll of show_locks and yield what it reveals."""
        columns = frozenset(name for name in _KEY if poll.rows and name in poll.rows[0])
        if poll.rows and self._columns and columns != self._columns:
            yield from (self._released(poll, member, "columns_changed") for member in self._population.forget())
        self._columns = columns or self._columns
        change = self._population.take(poll, self._keyed(poll.rows))
        for member in change.gone:
            yield self._released(poll, member, "gone")
        for member in change.come:
            self._locks[member.key] = Lock(server_seconds(member.row.get("lock_start_time")))
            yield self._line("lock_acquired", poll, member)
        for member in (*change.come, *change.stayed):
            yield from self._told(poll, member)

    def running(self, poll: Poll, statement_ids: set[str]) -> Iterable[Line]:
        """Take the ids that a good poll of show_server_status has seen: holders that two of them miss are gone."""
        for member in self.members:
            lock = self._locks[member.key]
            if text_of(member.row.get("statement_id")) in statement_ids:
                lock.suspect_ns = None
            elif lock.suspect_ns is not None and not lock.orphaned and poll.began_ns >= lock.suspect_ns:
                lock.orphaned = True
                yield self._line("lock_orphaned", poll, member, "inferred")
        self._running = Running(poll.ended_ns, statement_ids)

    def unfinished(self) -> Iterable[Line]:
        """Yield a line for each lock that is held, as of the newest poll."""
        poll = self._population.poll
        if poll is not None:
            for member in self.members:
                yield self._line("lock_held", poll, member)

    def state(self) -> LocksState:
        """Return what another one can go on from."""
        running = self._running and (self._running.ended_ns, sorted(self._running.statement_ids))
        return LocksState(self._population.state(), [self._locks[member.key] for member in self.members], sorted(self._columns), running)

    def resume(self, state: LocksState) -> None:
        """Go on from there."""
        self._population.resume(state.population)
        self._locks = dict(zip(self._population.members, state.locks))
        self._columns = frozenset(state.columns)
        self._running = state.running and Running(state.running[0], {*state.running[1]})

    def _keyed(self, rows: Iterable[Row]) -> Iterable[tuple[Key, Row]]:
        """The rows with their keys; a row that stays has the key that it had."""
        known = {id(member.row): member.key for member in self.members}
        for row in rows:
            key = known.get(id(row))
            if key is not None:
                yield key[:-1], row
                continue
            number, began, locked, mode, taken = map(row.get, _KEY)
            yield (text_of(number), _time(began), text_of(locked), text_of(mode), _time(taken)), row

    def _told(self, poll: Poll, member: Member) -> Iterable[Line]:
        lock = self._locks[member.key]
        active = member.row.get("is_statement_active")
        if active in _INACTIVE and not lock.orphaned:
            lock.orphaned = True
            yield self._line("lock_orphaned", poll, member)
        if active is None and lock.suspect_ns is None and self._running is not None:
            asked_ns, ids = self._running
            if asked_ns <= poll.began_ns and text_of(member.row.get("statement_id")) not in ids:
                lock.suspect_ns = poll.ended_ns
        reached = 0 if member.stepped else milestone((member.seen_ns - self._began_before_ns(poll, member)) / 1e9)
        if reached > lock.told_s:
            lock.told_s = reached
            yield self._line("lock_held", poll, member)

    def _released(self, poll: Poll, member: Member, end: str) -> Line:
        before: Optional[int] = None
        if end == "gone":
            end, before = self._restarts.end_of(member, poll)
        lock = self._locks[member.key]
        certainty: Certainty = "inferred" if end == "columns_changed" else "seen"
        fields = {**_said(member), **self._life(poll, member, before), "milestone_s": 0, "orphaned": lock.orphaned, "end": end}
        del self._locks[member.key]
        return line("lock_released", poll, fields, certainty=certainty, level=level_of_lock(lock.told_s, orphaned=lock.orphaned))

    def _line(self, event: str, poll: Poll, member: Member, certainty: Certainty = "seen") -> Line:
        lock = self._locks[member.key]
        fields = {**_said(member), **self._life(poll, member), "milestone_s": lock.told_s, "orphaned": lock.orphaned}
        return line(event, poll, fields, certainty=certainty, level=level_of_lock(lock.told_s, orphaned=lock.orphaned))

    def _life(self, poll: Poll, member: Member, gone_before_ns: Optional[int] = None) -> dict[str, Any]:
        return life(member, server=self._by_the_server(poll, member), gone_before_ns=gone_before_ns)

    def _by_the_server(self, poll: Poll, member: Member) -> Optional[tuple[int, int]]:
        if member.began_after_ns is not None:
            return None
        return self._clock.instant(self._locks[member.key].start_s, poll.began_ns)

    def _began_before_ns(self, poll: Poll, member: Member) -> int:
        server = self._by_the_server(poll, member)
        return member.began_before_ns if server is None else min(member.began_before_ns, server[1])


def _time(value: object) -> object:
    """A time in one form, since the server writes it in two."""
    seconds = server_seconds(value)
    return value if seconds is None else seconds


def _said(member: Member) -> dict[str, Any]:
    row = member.row
    said = {
        "statement_id": text_of(row.get("statement_id")),
        "locked_object": row.get("locked_object"),
        "lock_mode": row.get("lock_mode"),
        "nth": member.key[-1],
        "username": row.get("username"),
        "server": row.get("server"),
        "port": text_of(row.get("port")),
        "statement_start_time": row.get("statement_start_time"),
        "lock_start_time": row.get("lock_start_time"),
        "statement": row.get("statement_string"),
        "statement_hash": row.get("statement_hash"),
    }
    return {name: value for name, value in said.items() if value is not None}
