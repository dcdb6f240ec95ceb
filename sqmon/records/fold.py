"""The inverse of change-only emission: the full rows of each poll, rebuilt from the lines of a metric."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from sqmon.records.changes import BITS, HASH

Record = Mapping[str, Any]


class Fold:
    """The rows that the polls of one run returned, one poll after the other; works for metrics that emit rows, too."""

    def __init__(self) -> None:
        self.whole = False
        """Whether there has been a poll that was written whole: until then some rows may be unknown."""
        self._rows: dict[str, list[Record]] = {}

    def take(self, lines: Iterable[Record]) -> None:
        """Apply the lines of one poll, all of them. A poll that changed nothing has none and need not be told of.

        A removal of a row that isn't there is passed over: then lines are missing, and `digest` shows it.
        """
        lines = list(lines)
        if any(line.get("change", "key") == "key" for line in lines):
            self._rows, self.whole = {}, True
        for place, line in enumerate(lines):
            name = line.get(HASH, str(place))
            if line.get("change") != "removed":
                self._rows.setdefault(name, []).append(line)
            elif self._rows.get(name):
                self._rows[name].pop()

    def clear(self) -> None:
        """Apply a poll of a metric that emits rows and returned none."""
        self._rows, self.whole = {}, True

    def resume(self, rows: Iterable[Record]) -> None:
        """Go on from the rows of another fold."""
        self._rows, self.whole = {}, True
        for row in rows:
            self._rows.setdefault(row[HASH], []).append(row)

    @property
    def rows(self) -> list[Record]:
        """The lines of the rows of the newest poll; a line keeps the poll in which its row was written."""
        return [line for lines in self._rows.values() for line in lines]

    @property
    def digest(self) -> str:
        """What the `digest` of the newest poll's event must be, for a metric that emits changes."""
        return f"{sum(int(name, 16) * len(lines) for name, lines in self._rows.items()) % (1 << BITS):032x}"
