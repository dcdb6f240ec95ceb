"""What a report knows of statements, of those that hold up others, of workers and of polls."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from sqmon.delivery.report.amounts import Largest
from sqmon.lifetimes.lines import Line

_QUEUED = "in queue"
_MOST_NAMES = 50


class Phase(NamedTuple):
    """A status of a statement, and the times when it was seen first and last."""

    status: str
    since_ns: int
    until_ns: int


class Run(NamedTuple):
    """One run of a statement: its newest line, and the statuses that it went through."""

    life: Line
    phases: list[Phase]

    @property
    def queued_s(self) -> float:
        """For how long it was in the queue at least."""
        return sum(max(0, phase.until_ns - phase.since_ns) / 1e9 for phase in self.phases if phase.status.lower() == _QUEUED)


class StatementGroup:
    """The runs of one statement, whatever its literals were."""

    def __init__(self) -> None:
        self.runs = 0
        self.total_s = 0.0
        self.longest_s = 0.0
        self.queued_s = 0.0
        self.blocked = 0
        self.text: Any = None
        """Of its first run."""
        self.users: Counter[str] = Counter()
        self.services: Counter[str] = Counter()


class Blocker:
    """A statement that others waited for."""

    def __init__(self) -> None:
        self.waited_s = 0.0
        self.waits: Largest[Line] = Largest(20)
        self.locks: list[Line] = []


class Worker:
    """A worker, as the statements that ran on it have it."""

    def __init__(self) -> None:
        self.statements = 0
        self.busy_s = 0.0
        self.services: Counter[str] = Counter()


class Polled:
    """How the polls of one metric went."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.rows = 0
        self.total_ms = 0.0
        self.longest_ms = 0.0
        self.exits = 0
        self.lost = 0
        self.blind_s = 0.0
        self.error = ""
        """The last one."""


def lasted_s(life: Line) -> float:
    """Return how long something lasted at least, in seconds."""
    return float(life["held_min_s"] or 0.0)


def count_name(names: Counter[str], name: object) -> None:
    """Count a name, unless there are too many already."""
    text = str(name or "")
    if text in names or len(names) < _MOST_NAMES:
        names[text] += 1


def key_of(line: Line) -> tuple[Any, ...]:
    """Return what identifies the statement of a line."""
    return line.get("statement_id"), line.get("statement_start_time")
