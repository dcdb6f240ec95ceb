"""The result of a statement, column by column: what the database wing hands to the records wing."""

from __future__ import annotations

import itertools
from typing import Any, Iterable, Iterator, NamedTuple, Optional, Sequence


class Facts(NamedTuple):
    """What holds for every value of a column, established once, so that nobody has to look at each value."""

    plain: bool
    """Nothing but None, bool, int of at most 2^53 either way, float (NaN and infinities too), and str that is valid Unicode."""
    longest: int
    """Bytes of UTF-8 that no text of the column exceeds; 0 where none is text. Says something only where `plain` holds."""


UNKNOWN = Facts(plain=False, longest=0)
"""Of a column whose values have to be looked at one by one."""


class Result(NamedTuple):
    """All rows of a statement; a column may decode its values when they are taken, so take slices, in order, and drop them again."""

    columns: list[str]
    """Names exactly as the server sent them: any text, also empty or twice."""
    data: Sequence[Sequence[Any]]
    """One sequence of `rows` values for each column; a slice of it is a list."""
    facts: Sequence[Facts]
    """One entry for each column."""
    rows: int

    def parts(self, rows: int) -> Iterator[Result]:
        """Yield the result in parts of at most so many rows, in order, each with its values taken; one part where there is no row."""
        for start in range(0, self.rows or 1, rows):
            count = min(rows, self.rows - start)
            yield self._replace(data=[values[start : start + count] for values in self.data], rows=count)

    def tuples(self, start: int = 0, stop: Optional[int] = None) -> list[tuple[Any, ...]]:
        """Return the rows from `start` to before `stop` as tuples, for those who want few of them."""
        return list(zip(*(values[start:stop] for values in self.data)))


def joined(parts: Sequence[Result]) -> Result:
    """Return the parts of a result, at least one, as one again."""
    if len(parts) == 1:
        return parts[0]
    data = [list(itertools.chain.from_iterable(columns)) for columns in zip(*(part.data for part in parts))]
    return parts[0]._replace(data=data, rows=sum(part.rows for part in parts))


def by_column(columns: list[str], rows: Iterable[Sequence[Any]]) -> Result:
    """Return rows as a result; nothing is known about their values."""
    data = [list(values) for values in zip(*rows)] or [[] for _ in columns]
    return Result(columns, data, [UNKNOWN] * len(columns), len(data[0]) if data else 0)
