"""Custom queries: one read-only select passes, everything else is refused with its reason."""

from __future__ import annotations

import pytest

from sqmon.config import read_only


@pytest.mark.parametrize(
    "query",
    [
        "select 1",
        "SELECT get_total_chunks_size('GB');",
        "select * from sqream_catalog.tables where table_name = 'a;b'",
        "select 'it''s -- no comment', count(*) from t ;",
        "select 'shutdown_server()'",
        'select "odd ""name" from t',
    ],
)
def test_one_select_passes(query: str) -> None:
    """A single select is accepted, whatever its literals say."""
    assert read_only.problem(query) == ""


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "must start with select"),
        ("drop table t", "must start with select"),
        ("selection()", "must start with select"),
        ("select 1; select 2", "must be one statement"),
        ("select 1 -- and more", "must not hold comments"),
        ("select /* ' */ shutdown_server() /* ' */", "must not hold comments"),
        ("select 'open", "has a quote that is never closed"),
        ("select shutdown_server()", "calls shutdown_server, which shuts the server down"),
        ("select SHUTDOWN_SERVER ( )", "calls shutdown_server, which shuts the server down"),
        ("select 'a''b', shutdown_server()", "calls shutdown_server, which shuts the server down"),
        ("select \"a'b\", shutdown_server(), 'c'", "calls shutdown_server, which shuts the server down"),
        ('select "stop_statement"(3)', "calls stop_statement, which stops a statement"),
        ("select export_anything_new('f')", "calls export_anything_new, which writes a file on the server"),
    ],
)
def test_everything_else_is_refused(query: str, reason: str) -> None:
    """What is not one select, or calls a function that changes the server, is refused, however it is dressed up."""
    assert read_only.problem(query) == reason
