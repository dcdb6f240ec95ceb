"""A table: columns, rows that belong together in groups, and how they are sorted, filtered and laid out."""

from __future__ import annotations

import enum
from typing import Any, Callable, NamedTuple, Optional, Sequence

from sqmon.config.thresholds import Levels
from sqmon.errors import shown
from sqmon.top.lines import BOLD, CRITICAL, DIM, HEADING, WARNING, Line, Span, padded, width_of

GAP = 2
"""Columns of the screen between two columns of the table."""
GUTTER = 3
"""Columns of the screen before the first one, for the mark of a row."""
_LEAST_TEXT = 12  # columns of the screen that the text keeps before other columns are left out


class Level(enum.IntEnum):
    """How bad something is, by the thresholds of the alerts."""

    FINE = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def style(self) -> str:
        """The style in which it is shown."""
        return ("", WARNING, CRITICAL)[self]

    @property
    def mark(self) -> str:
        """What says so where there is no colour."""
        return ("", "!", "!!")[self]


def level_of(value: Optional[float], warning: float, critical: float = float("inf")) -> Level:
    """Return how bad a value is that is bad when it is high."""
    if value is None or value <= warning:
        return Level.FINE
    return Level.CRITICAL if value > critical else Level.WARNING


def level_by(value: Optional[float], levels: Levels) -> Level:
    """Return how bad a value is by two levels."""
    return level_of(value, *levels)


class Column(NamedTuple):
    """One column of a table."""

    name: str
    right: bool = False
    rank: int = 0
    """Where there is no room for all, the columns with the highest rank are left out first."""
    grows: bool = False
    """Whether it is the one that takes the room that is left."""
    most: int = 40
    """The width beyond which its cells are cut."""


class Cell(NamedTuple):
    """What a row says in one column."""

    text: str
    level: Level = Level.FINE
    by: Any = None
    """What it is sorted by instead of its text."""
    style: str = ""

    @property
    def key(self) -> tuple[bool, bool, Any]:
        """What it is sorted by; what says nothing comes last."""
        value = self.text.lower() if self.by is None else self.by
        return not self.text, isinstance(value, str), value


class Fact(NamedTuple):
    """One thing to know of what a row is about."""

    name: str
    cell: Cell


class Detail(NamedTuple):
    """Everything about what a row is about."""

    title: str
    facts: Sequence[Fact]
    text: str = ""
    """A statement, in full."""
    lists: Sequence[tuple[str, Sequence[Line]]] = ()
    """Lines below headings."""


class Row(NamedTuple):
    """One row, with what can be done with it."""

    key: str
    """What it is about, so that it can be found again in the next poll."""
    cells: Sequence[Cell]
    copy: str = ""
    """The id that can be copied."""
    said: str = ""
    """What else a filter looks into."""
    detail: Optional[Callable[[], Detail]] = None
    branch: str = ""
    """The lines of a tree before its first cell."""

    @property
    def level(self) -> Level:
        """The worst of its cells."""
        return max((cell.level for cell in self.cells), default=Level.FINE)

    def matches(self, words: Sequence[str]) -> bool:
        """Return whether every word occurs somewhere in it."""
        said = " ".join((self.said, *(cell.text for cell in self.cells))).lower()
        return all(word in said for word in words)


Group = Sequence[Row]
"""A row and those below it, which stay together."""


class Table(NamedTuple):
    """What one view shows."""

    columns: Sequence[Column]
    groups: Sequence[Group]
    empty: str
    """What is said instead of rows."""
    notes: Sequence[Line] = ()
    """What is said above the columns."""
    after: Sequence[Line] = ()
    """What is said below the rows."""

    def rows(self) -> list[Row]:
        """Return all rows."""
        return [row for group in self.groups for row in group]

    def filtered(self, text: str) -> Table:
        """Return the groups in which a row has every word of the text."""
        words = text.lower().split()
        return self._replace(groups=[group for group in self.groups if any(row.matches(words) for row in group)]) if words else self

    def ordered(self, column: Optional[int], *, reverse: bool = False) -> Table:
        """Return the groups in the order of a column of their first rows, numbers from the largest on; None leaves them as they are."""
        if column is None or column >= len(self.columns):
            return self._replace(groups=self.groups[::-1]) if reverse else self
        full = [group for group in self.groups if group[0].cells[column].text]
        rest = [group for group in self.groups if not group[0].cells[column].text]
        down = self.columns[column].right != reverse
        return self._replace(groups=[*sorted(full, key=lambda group: group[0].cells[column].key, reverse=down), *rest])


def laid_out(
    table: Table, width: Optional[int], *, sorted_by: Optional[int] = None, reverse: bool = False
) -> Callable[[Optional[Row]], Line]:
    """Return what makes the line of a row, and for None that of the headings, in columns that fit the width."""
    headings = [column.name + _arrow(column, reverse) * (number == sorted_by) for number, column in enumerate(table.columns)]
    rows = table.rows()
    widths = [
        max([width_of(heading), *(min(column.most, _width(row, number)) for row in rows)])
        for number, (column, heading) in enumerate(zip(table.columns, headings))
    ]
    silent = [not any(row.cells[number].text for row in rows) for number in range(len(table.columns))]
    chosen = _chosen(table.columns, widths, silent, width)
    if width is not None:
        for number in (number for number in chosen if table.columns[number].grows):
            others = GUTTER + sum(widths[other] + GAP for other in chosen if other != number)
            widths[number] = max(0, width - others)
    else:
        for number in (number for number in chosen if table.columns[number].grows):
            widths[number] = max([width_of(headings[number]), *(_width(row, number) for row in rows)])

    def line_of(row: Optional[Row]) -> Line:
        spans = [Span(padded("" if row is None else row.level.mark, GUTTER), "" if row is None else row.level.style)]
        for number in chosen:
            column, room = table.columns[number], widths[number]
            if number != chosen[0]:
                spans.append(Span(" " * GAP))
            if row is None:
                spans.append(Span(padded(headings[number], room, right=column.right), BOLD if number == sorted_by else HEADING))
                continue
            cell, branch = row.cells[number], row.branch if number == chosen[0] else ""
            if branch:
                spans.append(Span(branch, DIM))
            spans.append(Span(padded(shown(cell.text), room - width_of(branch), right=column.right), cell.level.style or cell.style))
        return Line(tuple(spans))

    return line_of


def _arrow(column: Column, reverse: bool) -> str:
    return "▼" if column.right != reverse else "▲"


def _width(row: Row, number: int) -> int:
    return width_of(shown(row.cells[number].text)) + (width_of(row.branch) if number == 0 else 0)


def _chosen(columns: Sequence[Column], widths: Sequence[int], silent: Sequence[bool], width: Optional[int]) -> list[int]:
    """The columns for which there is room; those that say nothing go first."""
    chosen = list(range(len(columns)))
    while width is not None and len(chosen) > 1:
        needed = GUTTER + sum(min(widths[number], _LEAST_TEXT) if columns[number].grows else widths[number] for number in chosen)
        if needed + GAP * (len(chosen) - 1) <= width:
            break
        chosen.remove(max(chosen, key=lambda number: (silent[number], columns[number].rank, number)))
    return chosen
