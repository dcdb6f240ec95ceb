"""The view of workers: which are up, when they were heard last, and what each of them runs."""

from __future__ import annotations

from functools import partial
from typing import Mapping, Optional

from sqmon.config import thresholds
from sqmon.config.typed_time import in_words
from sqmon.lifetimes import nodes
from sqmon.lifetimes.polls import Row as Record
from sqmon.lifetimes.polls import text_of
from sqmon.lifetimes.statements import status_of
from sqmon.top.lines import DIM, Line, Span, line
from sqmon.top.picture import Picture, address, age_cell, one_line, whole, worker_of
from sqmon.top.table import Cell, Column, Detail, Fact, Level, Row, Table, level_of

_COLUMNS = (
    Column("worker", most=24),
    Column("address", rank=7),
    Column("state", rank=1, most=14),
    Column("heartbeat", right=True),
    Column("statement", rank=4),
    Column("user", rank=3, most=20),
    Column("age", right=True, rank=2),
    Column("SQL", rank=6, grows=True),
)
STATS = "get_leveldb_stats"


def workers(picture: Picture) -> Table:
    """Return the workers of the cluster, those first that have been listed within the hour before and no longer are."""
    listed = {_name(record): record for record in picture.moment.rows(nodes.METRIC)}
    runs = {worker_of(record): record for record in picture.running()}
    rows = [_row(picture, name, record, None, gone=True) for name, record in gone(picture).items()]
    rows += [_row(picture, name, record, runs.get(name)) for name, record in sorted(listed.items())]
    return Table(_COLUMNS, [[row] for row in rows], "No worker is listed.", after=_metadata(picture))


def gone(picture: Picture) -> Mapping[str, Record]:
    """Return the workers by name that have been listed within the hour before and no longer are, each as it was listed then."""
    before, now = picture.moment.nodes_before, picture.moment.poll(nodes.METRIC)
    if before is None or now is None:
        return {}
    listed = set(map(_name, now.rows))
    return {_name(record): record for record in before.rows if _name(record) not in listed}


def _name(record: Record) -> str:
    return text_of(record.get("instance_id")) or address(record.get("server_ip"), record.get("server_port"))


def _row(picture: Picture, name: str, record: Record, runs: Optional[Record], *, gone: bool = False) -> Row:
    number = "" if runs is None else text_of(runs.get("statementid"))
    heard = whole(record.get("last_heartbeat"))
    # A heartbeat comes every few seconds, so tenths would say nothing.
    heartbeat = Cell("") if gone or heard is None else Cell(f"{in_words(heard)} ago", level_of(heard, thresholds.HEARTBEAT_SECONDS), heard)
    cells = (
        Cell(name),
        Cell(address(record.get("server_ip"), record.get("server_port"))),
        Cell("gone", Level.CRITICAL) if gone else Cell(text_of(record.get("connection_status"))),
        heartbeat,
        Cell(number, by=int(number) if number.isdecimal() else None),
        Cell("" if runs is None else text_of(runs.get("user_name"))),
        Cell("") if runs is None else _age(runs),
        Cell("was listed within the hour before" if gone else "" if runs is None else one_line(text_of(runs.get("statement")))),
    )
    return Row(f"worker {name}", cells, copy=name, detail=partial(_detail, picture, name, cells, number))


def _age(record: Record) -> Cell:
    levels = thresholds.EXECUTING_SECONDS if status_of(record).lower().startswith("execut") else ()
    return age_cell(whole(record.get("statement_age_s")), *levels)


def _detail(picture: Picture, name: str, cells: tuple[Cell, ...], number: str) -> Detail:
    facts = [Fact(column.name, cell) for column, cell in zip(_COLUMNS[1:4], cells[1:4]) if cell.text]
    if not number:
        return Detail(f"worker {name}", facts, lists=[("runs nothing", ())])
    runs = picture.detail(number)
    return runs._replace(title=f"worker {name} runs {runs.title}", facts=[*facts, *(fact for fact in runs.facts if fact.name != "worker")])


def _metadata(picture: Picture) -> list[Line]:
    """How long the metadata server takes at worst, where that is polled."""
    worst = max(picture.moment.rows(STATS), key=lambda record: float(record.get("max") or 0), default=None)
    if worst is None:
        return []
    longest = float(worst.get("max") or 0)
    level = level_of(longest, thresholds.METADATA_MS)
    said = Span(f"{longest:,.0f} ms", level.style)
    return [
        line(Span("metadata server: the longest answer since its reset took ", DIM), said, Span(f" ({text_of(worst.get('msg'))})", DIM))
    ]
