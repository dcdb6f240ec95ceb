"""Custom queries: one read-only select passes, everything else is refused with its reason."""

from __future__ import annotations

import time

import pytest

from sqmon.config import custom_query, read_only


@pytest.mark.parametrize(
    "query",
    [
        "select 1",
        "SELECT get_total_chunks_size('GB');",
        "select * from sqream_catalog.tables where table_name = 'a;b'",
        "select 'it''s -- no comment', count(*) from t ;",
        "select 'shutdown_server()'",
        'select "odd ""name" from t',
        "select $$it's (a) 'text' -- of one's own$$, 'a$$b'",
        "select count(*), max(lower(\"Name\")) from (select 1) as t where a in (1, 2) and not (b like 'x') or exists (select 1)",
        "select row_number() over (partition by a order by b), x::numeric(10, 2), cast(y as varchar(20)) from sqream_catalog.tables",
        "select percentile_cont(0.5) within group (order by size) from sqream_catalog.extents having count(*) > (1 + 2) * (3)",
        "select case when (a) then (b) else (c) end from t group by (a), array[(1), (2)]",
        "select show_db_info('master')\n\t;\r\n;",
    ],
)
def test_one_select_passes(query: str) -> None:
    """A single select passes, whatever its literals say."""
    assert custom_query.problem(query) == ""


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
        ("select abort_server()", "calls abort_server, which ends the server"),
        ("select backup_metadata('path')", "calls backup_metadata, which writes files on the server"),
        ("select rechunk_include_all()", "calls rechunk_include_all, which rewrites a table's chunks"),
        ("select * from shutdown_server()", "calls shutdown_server, which shuts the server down"),
        ("select a.b.shutdown_server\n()", "calls shutdown_server, which shuts the server down"),
        ("select $$'$$, shutdown_server(), $$'$$", "calls shutdown_server, which shuts the server down"),
        ("select $$ $$, shutdown_server()", "calls shutdown_server, which shuts the server down"),
        ("select '$$', shutdown_server(), '$$'", "calls shutdown_server, which shuts the server down"),
        ("select $$open", "has a quote that is never closed"),
        ('select "open', "has a quote that is never closed"),
        ("select $a$'$a$, f(), $a$'$a$", "holds '$' outside quotes"),
        ("select a$$'$$, f(), $$'$$", "holds '$' outside quotes"),
        ("select '\\', ', shutdown_server(), '", "has a backslash before a quote, which can be read in two ways"),
        ('select "\\", ", shutdown_server(), "', "has a backslash before a quote, which can be read in two ways"),
        ("select `shutdown_server`()", "holds '`' outside quotes"),
        ("select shutdown_server\u00a0()", "holds a control character, or one that is not text"),
        ("select \uff53hutdown_server()", "holds '\uff53' outside quotes"),
        ("select '\ud800'", "holds a control character, or one that is not text"),
        ("select 'a\0'", "holds a control character, or one that is not text"),
        ("select ('f')()", "has a bracket behind ), where no call can be"),
        ("select a[1]()", "has a bracket behind ], where no call can be"),
        ("select * into t from u", "must not write what it selects (into)"),
        ("select 1" + " " * 65536, "has more than 65536 characters"),
        ("select my_own(1)", 'calls my_own, which is not known to be read-only; if it is, add "allow_functions": ["my_own"]'),
        ('select "In"(1)', 'calls in, which is not known to be read-only; if it is, add "allow_functions": ["in"]'),
    ],
)
def test_everything_else_is_refused(query: str, reason: str) -> None:
    """Anything but one select, and a call of a function that changes the server, is refused, however it is disguised."""
    assert custom_query.problem(query) == reason


def test_operator_answers_for_a_function_by_name() -> None:
    """The permission holds for the function that it names, and never for one that is known to change the server."""
    query = "select my_own(1), another(2)"

    assert custom_query.problem(query, ["my_own", "another"]) == ""
    assert custom_query.problem(query, ["my_own"]).startswith("calls another, which is not known to be read-only")
    assert custom_query.problem("select abort_server()", ["abort_server"]) == "calls abort_server, which ends the server"


def test_what_is_known_to_change_something_is_on_no_other_list() -> None:
    """No function that changes the server is on another list."""
    assert [name for name in read_only.STATE_CHANGING if read_only.only_reads(name)] == []


def test_long_queries_are_read_in_no_time() -> None:
    """The time that a query takes to check is proportional to its length, whatever it holds."""
    began = time.monotonic()
    for piece in ("'", "''", '"', '""', "$$", "$", "a", "(", "a(", " ", "\\'", "-", "1"):
        custom_query.problem("select " + piece * (65_000 // len(piece)))

    assert time.monotonic() - began < 5
