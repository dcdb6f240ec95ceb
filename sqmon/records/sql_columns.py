"""The treatment of columns that hold SQL text: rewriting as --sql says, and the hash that groups the runs of a statement."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

from sqmon.config.settings import SqlMode
from sqmon.records.column_names import normalised
from sqmon.records.sql_text import masked, statement_hash, without_secrets
from sqmon.records.values import plain
from sqmon.result import Facts, Result

NAMES = frozenset(
    {"statement", "statement_string", "statement_text", "stmt", "stmt_string", "stmt_text", "sql", "sql_text", "query", "query_text"}
)
"""What such columns are called in record form, by SQreamDB and in queries of one's own."""

HASH = "statement_hash"

REWRITE: Mapping[SqlMode, Callable[[str], Optional[str]]] = {"full": without_secrets, "masked": masked, "none": lambda _: None}
"""What becomes of a text in each mode."""

_REMEMBERED_CHARACTERS = 1 << 20


class SqlColumns:
    """Works on each distinct text once, for as long as it remembers it: polls return the same texts again and again."""

    def __init__(self, mode: SqlMode) -> None:
        self._rewrite = REWRITE[mode]
        self._columns: list[str] = []
        self._places: list[int] = []
        self._texts: dict[Any, Any] = {}
        self._hashes: dict[Any, Optional[str]] = {}
        self._characters = 0
        self._rewritten = False
        """Whether one of the texts is another one now."""

    def applied(self, part: Result) -> Result:
        """Return the part with the texts rewritten and, where there is one, the hash of the first as the last column."""
        if part.columns != self._columns:
            self._columns = part.columns
            self._places = [place for place, name in enumerate(normalised(part.columns, ())) if name in NAMES]
        if not self._places:
            return part
        if self._characters > _REMEMBERED_CHARACTERS:
            self._texts.clear()
            self._hashes.clear()
            self._characters = 0
        data, hashes = [*part.data], None
        for place in self._places:
            values = data[place]
            if not part.facts[place].plain:  # an array can't be looked up
                values = [value if isinstance(value, str) else plain(value) for value in values]
            self._learn(values)
            hashes = hashes or list(map(self._hashes.__getitem__, values))
            data[place] = list(map(self._texts.__getitem__, values)) if self._rewritten else values
        return Result([*part.columns, HASH], [*data, hashes or []], [*part.facts, Facts(plain=True, longest=16)], part.rows)

    def _learn(self, values: Sequence[Any]) -> None:
        for value in set(values).difference(self._texts):
            if not isinstance(value, str):
                self._texts[value], self._hashes[value] = value, None
                continue
            self._characters += len(value)
            self._hashes[value] = statement_hash(value)
            text = self._texts[value] = self._rewrite(value)
            self._rewritten = self._rewritten or text != value
