"""A few catalog views: what `select ... from sqream_catalog.<view>` finds."""

from __future__ import annotations

from typing import Sequence

from sqmon.simulator.columns import Column
from sqmon.simulator.default_functions import Row
from sqmon.simulator.generations import columns
from sqmon.simulator.other_functions import flags
from sqmon.simulator.sql import StatementError, ViewQuery
from sqmon.simulator.workload import TABLES, USERS

_COLUMNS = {
    "parameters": columns("flag_name text, value text, default_value text, scope text, description text"),
    "tables": columns(
        "database_name text, table_id int, schema_name text, table_name text, row_count_valid bool, row_count bigint, rechunker_ignore int"
    ),
    "databases": columns("database_id int, database_name text"),
    "schemas": columns("schema_id int, schema_name text"),
    "roles": columns("role_id int, name text, superuser bool, login bool, has_password bool"),
}


def _rows(view: str, databases: Sequence[str], *, gpu: bool) -> list[Row]:
    found: dict[str, list[Row]] = {
        "parameters": [(flag, value, value, "global", "") for flag, value in flags(gpu=gpu)],
        "tables": [(databases[0], number, "public", name, True, 1000 * (number + 1), 0) for number, name in enumerate(TABLES)],
        "databases": list(enumerate(databases)),
        "schemas": [(0, "public")],
        "roles": [(number, name, name == "sqream", True, True) for number, name in enumerate(USERS)],
    }
    return found[view]


def select(query: ViewQuery, databases: Sequence[str], *, gpu: bool) -> tuple[list[Column], list[Row]]:
    """Return the chosen columns and the matching rows; raises StatementError for a view or a column that does not exist."""
    if query.view not in _COLUMNS:
        raise StatementError(f"Could not find view sqream_catalog.{query.view}.")
    positions = {column.name: position for position, column in enumerate(_COLUMNS[query.view])}
    chosen = query.columns or tuple(positions)
    for name in (*chosen, *(query.where or ())[:1]):
        if name not in positions:
            raise StatementError(f"Could not find column {name} in sqream_catalog.{query.view}.")
    rows = _rows(query.view, databases, gpu=gpu)
    if query.where is not None:
        key, value = query.where
        rows = [row for row in rows if str(row[positions[key]]) == value]
    picked = [positions[name] for name in chosen]
    return [_COLUMNS[query.view][at] for at in picked], [tuple(row[at] for at in picked) for row in rows]
