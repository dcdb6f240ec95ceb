"""What becomes of statements: seen, in one status after the other, ended."""

from __future__ import annotations

import re
from typing import Any, Collection, Iterable, NamedTuple, Optional

import msgspec

from sqmon.clock import utc_stamp
from sqmon.config import catalogue
from sqmon.lifetimes.lines import Level, Line, life, line
from sqmon.lifetimes.milestones import level_of_statement, milestone
from sqmon.lifetimes.polls import Poll, Row, server_seconds, text_of
from sqmon.lifetimes.population import Key, Member, Population, PopulationState
from sqmon.lifetimes.restarts import Restarts
from sqmon.lifetimes.server_clock import ServerClock

METRIC = "show_server_status"

_POLLED = re.compile(r"\s*select\s+(\w+)\s*\(\s*\)[\s;]*", re.IGNORECASE)


class Own(NamedTuple):
    """The statement that a poll of show_server_status consisted of."""

    number: int
    start_s: Optional[int]
    """When it began by the server's clock, in seconds."""
    user: str


def own_statement(poll: Poll) -> Optional[Own]:
    """Return the poll's own statement; None when nobody can tell, as with a second monitor that polls at the same moment."""
    rows = [row for row in poll.rows if row.get("is_self") is True]
    if len(rows) != 1:
        return None
    try:
        number = int(rows[0]["statementid"])
    except (KeyError, TypeError, ValueError):
        return None
    return Own(number, server_seconds(rows[0].get("statementstarttime")), text_of(rows[0].get("user_name")))


def of_users(poll: Poll, own: Optional[Own]) -> list[Row]:
    """Return the rows that are not the monitor's own polls."""
    return [row for row in poll.rows if row.get("is_self") is not True and not (own is not None and _is_a_poll(row, own.user))]


def _is_a_poll(row: Row, user: str) -> bool:
    found = _POLLED.fullmatch(str(row.get("statement") or "")[:200])
    return found is not None and found[1].lower() in catalogue.FUNCTIONS and text_of(row.get("user_name")) == user


class Status(msgspec.Struct, gc=False):
    """The status of a statement, which it has kept for some time."""

    name: str
    seen_ns: int
    """The start of the newest poll that saw it."""
    since_ns: int
    """When it had it at the latest."""
    told_s: int = 0
    """The longest milestone that was told."""


class StatementsState(msgspec.Struct):
    """The statements of the newest poll, and the status of each in their order."""

    population: PopulationState
    status: list[Status]


class Statements:
    """The statements of a cluster's users; a number that comes again with another start is another statement."""

    def __init__(self, clock: ServerClock, restarts: Restarts) -> None:
        self._clock = clock
        self._restarts = restarts
        self._population = Population()
        self._status: dict[Key, Status] = {}

    @property
    def members(self) -> Collection[Member]:
        """The statements of the newest poll."""
        return self._population.members.values()

    def take(self, poll: Poll, rows: Iterable[Row]) -> Iterable[Line]:
        """Take the users' statements of a good poll of show_server_status and yield what it reveals."""
        change = self._population.take(poll, ((_key(row), row) for row in rows))
        for member in change.gone:
            end, before = self._restarts.end_of(member, poll)
            status = self._status.pop(member.key)
            fields = {**said(member.row), "status": status.name, **self._life(poll, member, before), "milestone_s": 0, "end": end}
            yield line("statement_ended", poll, fields, certainty="seen", level=level_of_statement(status.told_s))
        for member in change.come:
            self._status[member.key] = self._new_status(poll, member)
            yield from self._told(poll, member, "statement_seen")
        for member in change.stayed:
            status = self._status[member.key]
            if status_of(member.row).lower() != status.name.lower():
                self._status[member.key] = self._new_status(poll, member)
                between = {"changed_after": utc_stamp(status.seen_ns), "changed_before": utc_stamp(poll.ended_ns)}
                yield self._line(poll, member, status_before=status.name, level=level_of_statement(status.told_s), **between)
            else:
                status.name, status.seen_ns = status_of(member.row), poll.began_ns
                yield from self._told(poll, member)

    def unfinished(self) -> Iterable[Line]:
        """Yield a line for each statement that goes on, as of the newest poll."""
        poll = self._population.poll
        if poll is not None:
            for member in self.members:
                yield self._line(poll, member)

    def state(self) -> StatementsState:
        """Return what another one can go on from."""
        return StatementsState(self._population.state(), [self._status[member.key] for member in self.members])

    def resume(self, state: StatementsState) -> None:
        """Go on from there."""
        self._population.resume(state.population)
        self._status = dict(zip(self._population.members, state.status))

    def _new_status(self, poll: Poll, member: Member) -> Status:
        server = self._clock.instant(server_seconds(member.row.get("statementstatusstart")), poll.began_ns)
        since_ns = poll.ended_ns if server is None else min(poll.ended_ns, server[1])
        return Status(status_of(member.row), poll.began_ns, since_ns)

    def _told(self, poll: Poll, member: Member, event: str = "") -> Iterable[Line]:
        """Yield the line of an event, or that the status has lasted for a milestone more."""
        status = self._status[member.key]
        reached = 0 if member.stepped else milestone((status.seen_ns - status.since_ns) / 1e9)
        is_news, status.told_s = reached > status.told_s, max(reached, status.told_s)
        if event or is_news:
            yield self._line(poll, member, event or "statement_status")

    def _line(self, poll: Poll, member: Member, event: str = "statement_status", level: Level = "info", **more: str) -> Line:
        status = self._status[member.key]
        fields = {**said(member.row), "status": status.name, **more, **self._life(poll, member), "milestone_s": status.told_s}
        return line(event, poll, fields, certainty="seen", level=level if level == "warning" else level_of_statement(status.told_s))

    def _life(self, poll: Poll, member: Member, gone_before_ns: Optional[int] = None) -> dict[str, Any]:
        server = None
        if member.began_after_ns is None:
            server = self._clock.instant(server_seconds(member.row.get("statementstarttime")), poll.began_ns)
        return life(member, server=server, gone_before_ns=gone_before_ns)


def status_of(row: Row) -> str:
    """Return the status that the server gives."""
    return text_of(row.get("statementstatus"))


def _key(row: Row) -> Key:
    start = row.get("statementstarttime")
    seconds = server_seconds(start)
    return text_of(row.get("statementid")), start if seconds is None else seconds


def said(row: Row) -> dict[str, Any]:
    """Return what identifies a statement and what people want to know of it, under the names of lifetimes."""
    found = {
        "statement_id": text_of(row.get("statementid")),
        "username": row.get("user_name"),
        "database_name": row.get("database_name"),
        "service": row.get("service"),
        "instance_id": row.get("instanceid"),
        "clientip": row.get("clientip"),
        "statement_start_time": row.get("statementstarttime"),
        "statement": row.get("statement"),
        "statement_hash": row.get("statement_hash"),
    }
    return {name: value for name, value in found.items() if value is not None}
