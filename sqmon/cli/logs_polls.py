"""One poll as a table, and what changed between two polls."""

from __future__ import annotations

import itertools
import textwrap
from collections import defaultdict
from typing import Collection, Iterator, Mapping, NamedTuple, Optional, Sequence

from rich.cells import cell_len

from sqmon.cli.aligned import aligned
from sqmon.cli.console import Console
from sqmon.cli.logs_view import METADATA, Painter, cell_of, local_time
from sqmon.clock import utc_stamp
from sqmon.config import catalogue
from sqmon.errors import shown
from sqmon.lifetimes.polls import renamed
from sqmon.records.changes import HASH
from sqmon.storage.whole_poll import Record, WholePoll
from sqmon.words import counted

_NOT_COLUMNS = frozenset((*METADATA, "change", HASH, "truncated", "statement_hash"))
_LONGEST, _SHORTEST = 60, 20  # characters to which a cell is cut, and to which it is not cut any more
_GAP = 2  # blanks between columns
_FIRST: Mapping[str, Sequence[str]] = {
    "show_locks": ("statement_id", "username", "locked_object", "lock_mode", "lock_age_s", "statement_string"),
    "show_server_status": ("statementid", "user_name", "statementstatus", "status_age_s", "statement_age_s", "service", "statement"),
}
"""The columns that matter most where there is no room for all."""
_KEYS: Mapping[str, Sequence[str]] = {
    "show_locks": ("statement_id", "statement_start_time", "locked_object", "lock_mode"),
    "show_server_status": ("statementid", "statementstarttime"),
    "show_cluster_nodes": ("instance_id", "server_ip", "server_port"),
    "get_leveldb_stats": ("server_ip", "server_port", "msg"),
    "show_connections": ("ip", "conn_id"),
    "show_subscribed_instances": ("service", "servernode"),
    "get_open_snapshots": ("snapshot_id",),
    "get_license_info": (),
}
"""The columns by which a row of one poll is known again in another; of other metrics, all columns are."""

Row = Mapping[str, object]


class Changed(NamedTuple):
    """A row that is in both polls, with other values."""

    before: Row
    after: Row
    columns: list[str]
    """Those whose values differ."""


class Difference(NamedTuple):
    """What happened between two polls of a metric."""

    came: list[Row]
    went: list[Row]
    changed: list[Changed]
    unchanged: int


def difference(metric: str, first: Sequence[Record], second: Sequence[Record]) -> Difference:
    """Compare the rows of two polls. Ages and other computed columns make no difference, nor does the order of the rows.

    The statement of the poll itself, which comes and goes with each, is left out.
    """
    computed = catalogue.FUNCTIONS[metric].computed.keys() if metric in catalogue.FUNCTIONS else ()
    ignored = _NOT_COLUMNS.union(computed)
    others = ([row for row in renamed(metric, rows) if row.get("is_self") is not True] for rows in (first, second))
    before, after = (_keyed(metric, rows, ignored) for rows in others)
    came, went, changed, unchanged = [], [], [], 0
    for key in dict.fromkeys((*before, *after)):
        for old, new in itertools.zip_longest(before.get(key, ()), after.get(key, ())):
            if old is None:
                came.append(new)
            elif new is None:
                went.append(old)
            else:
                columns = [name for name in dict.fromkeys((*old, *new)) if name not in ignored and old.get(name) != new.get(name)]
                if columns:
                    changed.append(Changed(old, new, columns))
                else:
                    unchanged += 1
    return Difference(came, went, changed, unchanged)


def lines(polls: Sequence[WholePoll], paint: Painter, *, cluster: str, width: Optional[int]) -> Iterator[str]:
    """Yield the table of one poll, or what is between two. Cells are cut until a line fits into the width, if that is possible."""
    if len(polls) == 1:
        return _table(polls[0], paint, cluster=cluster, width=width)
    return _difference(polls[0], polls[1], paint, cluster=cluster, width=width)


def as_json(polls: Sequence[WholePoll], cluster: str) -> dict[str, object]:
    """Return one poll, or what is between two, for programs."""
    about = {"cluster": cluster} if cluster else {}
    return {**about, "metric": polls[0].metric, **(_poll_document(polls[0]) if len(polls) == 1 else _difference_document(*polls))}


def _table(poll: WholePoll, paint: Painter, *, cluster: str, width: Optional[int]) -> Iterator[str]:
    count = len(poll.rows)
    yield paint("1", f"{_named(poll.metric, cluster)}: {counted(count, 'row')} at {_when(poll)}")
    if poll.problem:
        yield paint("33", poll.problem)
    yield from table(poll.metric, poll.rows, paint, width=width)


def printed(metric: str, began_ns: int, records: Sequence[Record]) -> Iterator[bytes]:
    """Yield the table of a poll whose records were not in files, for stdout."""
    console = Console()
    paint = Painter.of(console)
    rows = counted(len(records), "row")
    yield f"{paint('1', f'{metric}: {rows} at {local_time(utc_stamp(began_ns))}')}\n".encode()
    for line in table(metric, records, paint, width=console.width if console.is_terminal else None):
        yield f"{line}\n".encode("utf-8", "backslashreplace")
    yield b"\n"


def table(metric: str, rows: Sequence[Record], paint: Painter, *, width: Optional[int]) -> Iterator[str]:
    """Yield records as a table; what is the same in all of them stands in a line above it."""
    shared = _shared(rows)
    if shared:
        longest = None if width is None else _LONGEST
        said = (f"{name}={cell_of(rows[0].get(name), longest=longest)}" for name in shared)
        yield from _folded(paint, f"in all rows: {', '.join(said)}", width)
    heading, *lines = _fitted(metric, rows, shared, width) or [""]
    if lines:
        yield paint("2", heading)
    yield from lines


def _difference(first: WholePoll, second: WholePoll, paint: Painter, *, cluster: str, width: Optional[int]) -> Iterator[str]:
    """Yield what came (+), went (-) and changed (~) from the first poll to the second."""
    found = difference(first.metric, first.rows, second.rows)
    counts = f"{len(found.came)} came, {len(found.went)} went, {len(found.changed)} changed, {found.unchanged} unchanged"
    yield paint("1", f"{_named(first.metric, cluster)}: {counts}")
    yield paint("2", f"from {_when(first)} to {_when(second)}")
    for poll in (first, second):
        if poll.problem:
            yield paint("33", f"poll at {_when(poll)}: {poll.problem}")
    for sign, style, rows in (("-", "31", found.went), ("+", "32", found.came)):
        heading, *found_rows = _fitted(first.metric, rows, (), None if width is None else width - 2) or [""]
        if found_rows:
            yield paint("2", f"  {heading}")
        yield from (paint(style, f"{sign} {row}") for row in found_rows)
    for each in found.changed:
        pairs = ((name, cell_of(each.before.get(name)) or "null", cell_of(each.after.get(name)) or "null") for name in each.columns)
        what = ", ".join(f"{name}: {old} → {new}" for name, old, new in pairs)
        yield from _folded(paint, f"~ {_label(first.metric, each.after)}{what}", width, style="33")


def _fitted(metric: str, rows: Sequence[Row], without: Collection[str], width: Optional[int]) -> list[str]:
    """Return rows as a table below its headings, without columns that are always null; nothing for no rows.

    Where a width is given, the columns that matter most come first, the long ones are cut, and those that find no room are left out.
    """
    names = [name for name in dict.fromkeys(itertools.chain.from_iterable(rows)) if name not in _NOT_COLUMNS and name not in without]
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    columns = {name: [name, *(cell_of(row.get(name), longest=None if width is None else _LONGEST) for row in rows)] for name in names}
    if width is not None:
        first = [name for name in _FIRST.get(metric, ()) if name in columns]
        names = _with_room({name: columns[name] for name in dict.fromkeys((*first, *names))}, width)
    if not names:
        return []
    numbers = {place for place, name in enumerate(names) if all(isinstance(row.get(name), (int, float)) for row in rows)}
    return aligned([*zip(*(columns[name] for name in names))], right=numbers)


def _folded(paint: Painter, text: str, width: Optional[int], *, style: str = "2") -> Iterator[str]:
    """Yield a text in lines of a width."""
    lines = [shown(text)] if width is None else textwrap.wrap(shown(text), width, subsequent_indent="  ")
    yield from (paint(style, line) for line in lines)


def _with_room(columns: dict[str, list[str]], width: int) -> list[str]:
    """Return the names of the columns that fit into the width, of which the long ones have been cut for that."""
    wanted = {name: max(map(cell_len, cells)) for name, cells in columns.items()}
    given: dict[str, int] = {}
    left = width
    for name in columns:
        least = min(wanted[name], max(_SHORTEST, cell_len(name)))
        if not given or least + _GAP <= left:
            given[name] = least
            left -= least + _GAP
    for name, least in given.items():
        room = min(wanted[name], least + max(0, left))
        left -= room - least
        columns[name][:] = [cell if cell_len(cell) <= room else f"{cell[: room - 1]}…" for cell in columns[name]]
    return [*given]


def _poll_document(poll: WholePoll) -> dict[str, object]:
    return {"run_id": poll.run_id, "poll": poll.poll, "ts": utc_stamp(poll.began_ns), "problem": poll.problem, "rows": poll.rows}


def _difference_document(first: WholePoll, second: WholePoll) -> dict[str, object]:
    found = difference(first.metric, first.rows, second.rows)
    return {
        "since": utc_stamp(first.began_ns),
        "until": utc_stamp(second.began_ns),
        "problems": [poll.problem for poll in (first, second) if poll.problem],
        "came": found.came,
        "went": found.went,
        "changed": [each._asdict() for each in found.changed],
        "unchanged": found.unchanged,
    }


def _keyed(metric: str, rows: Sequence[Record], ignored: frozenset[str]) -> dict[tuple[str, ...], list[Row]]:
    """The rows by what identifies them; those that share that stay in their order."""
    keys = _KEYS.get(metric)
    found: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        names = [name for name in row if name not in ignored] if keys is None else keys
        found[tuple(str(row.get(name)) for name in names)].append(row)
    return found


def _shared(rows: Sequence[Row]) -> list[str]:
    """Return the columns that have the same value in all rows, of which there are several."""
    if len(rows) <= 1:
        return []
    return [
        name
        for name, value in rows[0].items()
        if value is not None and name not in _NOT_COLUMNS and all(row.get(name) == value for row in rows)
    ]


def _label(metric: str, row: Row) -> str:
    names = [name for name in _KEYS.get(metric, ()) if row.get(name) is not None]
    return "".join(f"{name}={cell_of(row.get(name))} " for name in names)


def _named(metric: str, cluster: str) -> str:
    return f"{cluster} {metric}" if cluster else metric


def _when(poll: WholePoll) -> str:
    return local_time(utc_stamp(poll.began_ns))
