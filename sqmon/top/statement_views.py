"""The views of statements: those that run, and those that are queued."""

from __future__ import annotations

from collections import Counter
from functools import partial

from sqmon.config import thresholds
from sqmon.lifetimes.polls import Row as Record
from sqmon.lifetimes.polls import text_of
from sqmon.lifetimes.statements import status_of
from sqmon.top.lines import BOLD, DIM, Line, Span, line
from sqmon.top.picture import Picture, age_cell, one_line, whole, worker_of
from sqmon.top.table import Cell, Column, Level, Row, Table, level_of

_RUNNING = (
    Column("statement"),
    Column("user", rank=1, most=20),
    Column("service", rank=6, most=16),
    Column("worker", rank=3, most=20),
    Column("status", rank=2, most=14),
    Column("age", right=True),
    Column("in status", right=True, rank=5),
    Column("locks", rank=2, most=24),
    Column("SQL", grows=True),
)
_QUEUED = (
    Column("statement"),
    Column("user", rank=1, most=20),
    Column("service", rank=2, most=16),
    Column("waits", right=True),
    Column("client", rank=3, most=15),
    Column("database", rank=4, most=16),
    Column("SQL", grows=True),
)


def running(picture: Picture) -> Table:
    """Return the statements that have left the queue, the oldest first."""
    rows = sorted((_running(picture, record) for record in picture.running()), key=lambda row: -(row.cells[5].by or 0))
    notes = (
        [line(Span(f"{picture.own} more {'is a poll' if picture.own == 1 else 'are polls'} of the monitor itself", DIM))]
        if picture.own
        else []
    )
    return Table(_RUNNING, [[row] for row in rows], "No statement is running.", after=notes)


def queued(picture: Picture) -> Table:
    """Return the statements that wait for a worker, the one that waits longest first, and how many do per service."""
    rows = sorted((_queued(picture, record) for record in picture.queued()), key=lambda row: -(row.cells[3].by or 0))
    return Table(_QUEUED, [[row] for row in rows], "No statement is queued.", notes=_depths(picture))


def queue_level(picture: Picture) -> Level:
    """Return how bad the longest queue is."""
    return max((level_of(depth, thresholds.QUEUE_DEPTH) for depth in _per_service(picture).values()), default=Level.FINE)


def _per_service(picture: Picture) -> Counter[str]:
    return Counter(text_of(record.get("service")) for record in picture.queued())


def _depths(picture: Picture) -> list[Line]:
    spans: list[object] = []
    for service, depth in _per_service(picture).most_common():
        level = level_of(depth, thresholds.QUEUE_DEPTH)
        spans += [Span("  " if spans else "queued per service  ", DIM), f"{service} ", Span(str(depth), level.style or BOLD)]
    return [line(*spans)] if spans else []


def _running(picture: Picture, record: Record) -> Row:
    number, status = text_of(record.get("statementid")), status_of(record)
    age, since = whole(record.get("statement_age_s")), whole(record.get("status_age_s"))
    executes = status.lower().startswith("execut")
    stuck = status.lower() in ("preparing", "stopping")
    relation = picture.relation(number)
    cells = (
        Cell(number, by=_number(number)),
        Cell(text_of(record.get("user_name"))),
        Cell(text_of(record.get("service"))),
        Cell(worker_of(record)),
        Cell(status),
        age_cell(age, *(thresholds.EXECUTING_SECONDS if executes else ())),
        age_cell(since, *((thresholds.STUCK_SECONDS,) if stuck else ())),
        Cell(relation, style=BOLD if relation else ""),
        Cell(one_line(text_of(record.get("statement")))),
    )
    return _row(picture, number, cells, record)


def _queued(picture: Picture, record: Record) -> Row:
    number = text_of(record.get("statementid"))
    cells = (
        Cell(number, by=_number(number)),
        Cell(text_of(record.get("user_name"))),
        Cell(text_of(record.get("service"))),
        age_cell(whole(record.get("status_age_s")), thresholds.QUEUED_SECONDS),
        Cell(text_of(record.get("clientip"))),
        Cell(text_of(record.get("database_name"))),
        Cell(one_line(text_of(record.get("statement")))),
    )
    return _row(picture, number, cells, record)


def _row(picture: Picture, number: str, cells: tuple[Cell, ...], record: Record) -> Row:
    objects = " ".join(text_of(lock.get("locked_object")) for lock in picture.locks.get(number, ()))
    said = " ".join(text_of(record.get(name)) for name in ("service", "clientip", "database_name", "statement_hash"))
    return Row(f"statement {number}", cells, copy=number, said=f"{said} {objects}", detail=partial(picture.detail, number))


def _number(text: str) -> object:
    return int(text) if text.isdecimal() else text
