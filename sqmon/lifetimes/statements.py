"""What becomes of statements: seen, in one status after the other, ended."""

from __future__ import annotations

import re
from typing import Any, Collection, Iterable, NamedTuple, Optional

import msgspec

from sqmon.clock import utc_stamp
from sqmon.config import catalogue
from sqmon.lifetimes.lines import Line, life, line
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


class StatementsState(msgspec.Struct):
    """The statements of the newest poll, and for each in their order its status and the start of the poll that saw it last."""

    population: PopulationState
    status: list[tuple[str, int]]


class Statements:
    """The statements of a cluster's users; a number that comes again with another start is another statement."""

    def __init__(self, clock: ServerClock, restarts: Restarts) -> None:
        self._clock = clock
        self._restarts = restarts
        self._population = Population()
        self._status: dict[Key, tuple[str, int]] = {}

    @property
    def members(self) -> Collection[Member]:
        """The statements of the newest poll."""
        return self._population.members.values()

    def take(self, poll: Poll, rows: Iterable[Row]) -> Iterable[Line]:
        """Take the users' statements of a good poll of show_server_status and yield what it reveals."""
        change = self._population.take(poll, ((_key(row), row) for row in rows))
        for member in change.gone:
            end, before = self._restarts.end_of(member, poll)
            status, _ = self._status.pop(member.key)
            fields = {**said(member.row), "status": status, **self._life(poll, member, before), "end": end}
            yield line("statement_ended", poll, fields, certainty="seen")
        for member in change.come:
            self._status[member.key] = status_of(member.row), poll.began_ns
            yield line(
                "statement_seen", poll, {**said(member.row), "status": status_of(member.row), **self._life(poll, member)}, certainty="seen"
            )
        for member in change.stayed:
            status, (before_status, since_ns) = status_of(member.row), self._status[member.key]
            self._status[member.key] = status, poll.began_ns
            if status.lower() != before_status.lower():
                changed = {"status_before": before_status, "changed_after": utc_stamp(since_ns), "changed_before": utc_stamp(poll.ended_ns)}
                fields = {**said(member.row), "status": status, **changed, **self._life(poll, member)}
                yield line("statement_status", poll, fields, certainty="seen")

    def unfinished(self) -> Iterable[Line]:
        """Yield a line for each statement that goes on, as of the newest poll."""
        poll = self._population.poll
        if poll is not None:
            for member in self.members:
                fields = {**said(member.row), "status": status_of(member.row), **self._life(poll, member)}
                yield line("statement_status", poll, fields, certainty="seen")

    def state(self) -> StatementsState:
        """Return what another one can go on from."""
        return StatementsState(self._population.state(), [self._status[member.key] for member in self.members])

    def resume(self, state: StatementsState) -> None:
        """Go on from there."""
        self._population.resume(state.population)
        self._status = dict(zip(self._population.members, state.status))

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
