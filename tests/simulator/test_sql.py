"""Statements as users write them."""

from __future__ import annotations

import pytest

from sqmon.simulator.sql import Call, Number, Other, StatementError, ViewQuery, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select show_locks()", Call("show_locks", ())),
        (" SELECT Show_Locks ( ) ; ", Call("show_locks", ())),
        ("select * from show_locks();;", Call("show_locks", ())),
        ("select f('it''s; fine', -2, 1.5)", Call("f", ("it's; fine", "-2", "1.5"))),
        ("select f(g())", Other("select f(g())")),
        ("select 1;", Number(1)),
        ("select a, B from sqream_catalog.Tables", ViewQuery("tables", ("a", "b"), None)),
        ("select * from sqream_catalog.t where a = 'x''y'", ViewQuery("t", (), ("a", "x'y"))),
        ("drop table t", Other("drop table t")),
    ],
)
def test_a_statement_is_read(text: str, expected: object) -> None:
    """Case, blanks and a semicolon at the end don't matter, and quotes do, as in SQL."""
    assert expected == parse(text)


@pytest.mark.parametrize(("text", "count"), [("", 0), (" ; ", 0), ("select 1; select ';'", 2), ("a;b;c", 3)])
def test_anything_but_one_statement_is_refused(text: str, count: int) -> None:
    """Anything but one statement is refused, where a semicolon in quotes separates nothing."""
    with pytest.raises(StatementError, match=f"expected one statement, got {count}"):
        parse(text)
