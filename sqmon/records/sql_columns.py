"""The columns that hold SQL text: what --sql leaves of it, and the hash by which runs of one statement are grouped."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from sqmon.config.settings import SqlMode
from sqmon.records.column_names import normalised
from sqmon.records.sql_text import masked, statement_hash, without_secrets
from sqmon.result import Facts, Result

NAMES = frozenset(
    {"statement", "statement_string", "statement_text", "stmt", "stmt_string", "stmt_text", "sql", "sql_text", "query", "query_text"}
)
"""What such columns are called in record form, by SQreamDB and in queries of one's own."""

HASH = "statement_hash"

_REWRITE: Mapping[SqlMode, Callable[[str], Optional[str]]] = {"full": without_secrets, "masked": masked, "none": lambda _: None}
_REMEMBERED_CHARACTERS = 1 << 20

Worked = tuple[Optional[str], str]
"""What is left of a text, and its hash."""


class SqlColumns:
    """Works on each distinct text once, for as long as polls return it."""

    def __init__(self, mode: SqlMode) -> None:
        self._rewrite = _REWRITE[mode]
        self._columns: list[str] = []
        self._places: list[int] = []
        self._known: dict[str, Worked] = {}
        self._before: dict[str, Worked] = {}
        self._characters = 0

    def begin(self) -> None:
        """Begin a poll: texts that neither it nor the poll before returns are forgotten."""
        self._before, self._known, self._characters = self._known, {}, 0

    def applied(self, part: Result) -> Result:
        """Return the part with the texts rewritten and, where there is one, the hash of the first as the last column."""
        if part.columns != self._columns:
            self._columns = part.columns
            self._places = [place for place, name in enumerate(normalised(part.columns, ())) if name in NAMES]
        if not self._places:
            return part
        data, hashes = [*part.data], None
        for place in self._places:
            worked = [self._worked(value) for value in data[place]]
            data[place] = [text for text, _ in worked]
            hashes = hashes or [digest for _, digest in worked]
        return Result([*part.columns, HASH], [*data, hashes or []], [*part.facts, Facts(plain=True, longest=16)], part.rows)

    def _worked(self, value: Any) -> tuple[Any, Optional[str]]:
        if not isinstance(value, str):
            return value, None
        worked = self._known.get(value)
        if worked is None:
            worked = self._before.get(value) or (self._rewrite(value), statement_hash(value))
            self._characters += len(value)
            if self._characters < _REMEMBERED_CHARACTERS:
                self._known[value] = worked
        return worked
