"""Who runs, holds and waits for what at a moment, joined from its polls."""

from __future__ import annotations

from collections import deque
from typing import Callable, Iterable, Mapping, Optional, Sequence

from sqmon.config.typed_time import in_words
from sqmon.errors import shown
from sqmon.lifetimes import locks, statements
from sqmon.lifetimes.lines import Line as LifetimeLine
from sqmon.lifetimes.lock_graph import LockGraph
from sqmon.lifetimes.polls import Poll, Row, text_of
from sqmon.lifetimes.population import Member
from sqmon.lifetimes.statements import Own, of_users, own_statement, status_of
from sqmon.top.lines import Line, joined, line
from sqmon.top.moment import Moment
from sqmon.top.table import Cell, Detail, Fact, Level, level_of

_QUEUED = "in queue"
_INACTIVE = ("0", "false")


class Picture:
    """The statements, locks and waits of a moment by the statement's number."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        poll = moment.poll(statements.METRIC)
        own = None if poll is None else own_statement(poll)
        rows = [] if poll is None else of_users(poll, own)
        self.statements: Mapping[str, Row] = {text_of(row.get("statementid")): row for row in rows}
        self.own = 0 if poll is None else len(poll.rows) - len(rows)
        """How many statements are polls of the monitor."""
        self.locks: dict[str, list[Row]] = {}
        for row in moment.rows(locks.METRIC):
            self.locks.setdefault(text_of(row.get("statement_id")), []).append(row)
        self.waits = {str(wait["statement_id"]): wait for wait in _waits(moment, own, rows)}
        """The wait of each statement that waits for a lock."""
        self.blocked: dict[str, list[LifetimeLine]] = {}
        """The waits for each holder."""
        for wait in self.waits.values():
            for holder in blockers(wait):
                self.blocked.setdefault(holder, []).append(wait)

    def running(self) -> list[Row]:
        """Return the statements that have left the queue."""
        return [row for row in self.statements.values() if status_of(row).lower() != _QUEUED]

    def queued(self) -> list[Row]:
        """Return the statements that wait for a worker."""
        return [row for row in self.statements.values() if status_of(row).lower() == _QUEUED]

    def lock_age_s(self, number: str) -> Optional[int]:
        """Return how long a statement has held its oldest lock."""
        return max((age for age in (whole(row.get("lock_age_s")) for row in self.locks.get(number, ())) if age is not None), default=None)

    def is_orphaned(self, number: str) -> bool:
        """Return whether the server says that the statement that holds locks is no longer active."""
        return any(text_of(row.get("is_statement_active")).lower() in _INACTIVE for row in self.locks.get(number, ()))

    def relation(self, number: str) -> str:
        """Return whom a statement waits for and how many wait for it, in words."""
        wait, blocked = self.waits.get(number), self.blocked.get(number, ())
        return joined((f"waits for {', '.join(blockers(wait))}" if wait else "", f"blocks {len(blocked)}" if blocked else ""))

    def text(self, number: str) -> str:
        """Return the text of a statement, which runs, waits or holds locks."""
        row = self.statements.get(number)
        if row is not None:
            return text_of(row.get("statement"))
        return next((text_of(lock.get("statement_string")) for lock in self.locks.get(number, ())), "")

    def user(self, number: str) -> str:
        """Return the role of a statement."""
        row = self.statements.get(number)
        if row is not None:
            return text_of(row.get("user_name"))
        return next((text_of(lock.get("username")) for lock in self.locks.get(number, ())), "")

    def detail(self, number: str) -> Detail:
        """Return everything about a statement."""
        row = self.statements.get(number, {})
        held = self.locks.get(number, ())
        lock = held[0] if held else {}
        age, since = whole(row.get("statement_age_s", lock.get("statement_age_s"))), whole(row.get("status_age_s"))
        status = status_of(row)
        gone = "orphaned: no longer active, so it won't release its locks" if self.is_orphaned(number) else "not listed"
        facts = [
            ("user", Cell(self.user(number))),
            ("service", Cell(text_of(row.get("service")))),
            ("database", Cell(text_of(row.get("database_name")))),
            (
                "worker",
                Cell(joined((worker_of(row), address(row.get("serverip", lock.get("server")), row.get("serverport", lock.get("port")))))),
            ),
            ("client", Cell(text_of(row.get("clientip")))),
            ("status", Cell(f"{status}{'' if since is None else f' for {words(since)}'}" if status else gone, Level(not status))),
            (
                "started",
                Cell(
                    joined(
                        (
                            text_of(row.get("statementstarttime", lock.get("statement_start_time"))),
                            f"{words(age)} ago" if age is not None else "",
                        )
                    )
                ),
            ),
            ("hash", Cell(text_of(row.get("statement_hash", lock.get("statement_hash"))))),
        ]
        wait, blocked = self.waits.get(number), self.blocked.get(number, ())
        lists: list[tuple[str, Sequence[Line]]] = []
        if wait:
            lists.append((f"waits for ({wait['rule']})", [self._short(other) for other in blockers(wait)]))
        if blocked:
            lists.append((f"blocks {len(blocked)}", [self._short(str(other["statement_id"])) for other in blocked]))
        if held:
            lines = [line(f"{text_of(each.get('lock_mode')):9}  {text_of(each.get('locked_object'))}  {held_for(each)}") for each in held]
            lists.append((f"holds {len(held)} lock{'s' * (len(held) != 1)}", lines))
        known = [Fact(name, cell) for name, cell in facts if cell.text]
        return Detail(f"statement {number}", known, self.text(number), lists)

    def _short(self, number: str) -> Line:
        return line(f"{number} of {self.user(number)}: {one_line(self.text(number))}")


def _waits(moment: Moment, own: Optional[Own], rows: Sequence[Row]) -> list[LifetimeLine]:
    """Return the waits that follow from the newest polls of locks and statements; `rows` are the statements of users."""
    graph = LockGraph()
    held, status = moment.poll(locks.METRIC), moment.poll(statements.METRIC)
    if held is None or status is None:
        return []
    steps: list[Callable[[], Iterable[LifetimeLine]]] = [
        lambda: graph.locks(held, _members(held, held.rows)),
        lambda: graph.statements(status, _members(status, rows), own.start_s if own is not None else None),
    ]
    for step in steps if held.ended_ns <= status.ended_ns else reversed(steps):
        deque(step(), maxlen=0)  # what it tells is asked for at the end
    return [*graph.unfinished()]


def _members(poll: Poll, rows: Sequence[Row]) -> list[Member]:
    return [Member((number,), row, None, poll.ended_ns, poll.began_ns, poll.ended_ns) for number, row in enumerate(rows)]


def blockers(wait: LifetimeLine) -> list[str]:
    """Return the numbers of the statements in the way of one that waits."""
    return str(wait["blocked_by"]).split(",")


def whole(value: object) -> Optional[int]:
    """Return a number of seconds of a record, None for what is none."""
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def words(seconds: float) -> str:
    """Return an age in words; where the clocks differ, it can be below zero."""
    return in_words(seconds) if seconds >= 0 else f"-{in_words(-seconds)}"


def age_cell(seconds: Optional[int], warning: float = float("inf"), critical: float = float("inf")) -> Cell:
    """Return the cell of an age, with the level that it has by these thresholds."""
    return Cell("") if seconds is None else Cell(words(seconds), level_of(seconds, warning, critical), seconds)


def one_line(text: str) -> str:
    """Return a statement as one line that every terminal takes."""
    return shown(" ".join(text.split()))


def worker_of(row: Row) -> str:
    """Return the worker of a statement; in the queue it has none."""
    name = text_of(row.get("instanceid"))
    return "" if name.lower() == "none" else name


def address(host: object, port: object) -> str:
    """Return where a worker listens."""
    return f"{text_of(host)}:{text_of(port)}" if host is not None else ""


def held_for(lock: Row) -> str:
    """Return for how long a lock has been held, in words."""
    age = whole(lock.get("lock_age_s"))
    return "" if age is None else f"for {words(age)}"
