"""What --sql leaves of the columns that hold SQL text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest

from sqmon.config.settings import SqlMode
from sqmon.records.sql_columns import SqlColumns
from sqmon.records.sql_text import statement_hash
from sqmon.result import by_column
from sqmon.simulator import Simulator
from tests.support.program import service

TEXT = "grant password 'Abcd-1234' to ann; select 'Bob'"


def applied(mode: SqlMode, *texts: Any, column: str = "Statement String") -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the columns and rows that become of rows with these texts."""
    columns = SqlColumns(mode)
    result = columns.applied(by_column(["id", column], [(number, text) for number, text in enumerate(texts)]))
    return result.columns, result.tuples()


@pytest.mark.parametrize(
    ("mode", "left"),
    [("full", "grant password ? to ann; select 'Bob'"), ("masked", "grant password ? to ann; select ?"), ("none", None)],
)
def test_modes(mode: SqlMode, left: Optional[str]) -> None:
    """Secrets are masked always, literals and texts as asked, and the hash is the same in each mode."""
    assert (["id", "Statement String", "statement_hash"], [(0, left, statement_hash(TEXT))]) == applied(mode, TEXT)


def test_values_that_are_no_text_stay() -> None:
    """NULL has no hash, and a number is not SQL text."""
    _, rows = applied("masked", None, 5)

    assert [(0, None, None), (1, 5, None)] == rows


def test_other_columns_stay() -> None:
    """A result without SQL text is handed on as it is."""
    assert (["id", "name"], [(0, "it is 5")]) == applied("masked", "it is 5", column="name")


def test_texts_are_worked_on_once() -> None:
    """A text that comes again is not masked again, until many others have come."""
    columns = SqlColumns("masked")
    polls = [columns.applied(by_column(["stmt"], [(text,)])).data[0][0] for text in (TEXT, TEXT, "x" * (1 << 20), TEXT)]

    assert polls[0] is polls[1]
    assert polls[1] == polls[3]
    assert polls[1] is not polls[3]


def test_service_writes_what_was_asked_for(simulator: Simulator, tmp_path: Path) -> None:
    """With --sql masked no file holds a literal of a statement, and the `start` event names the mode."""
    with service(simulator.port, tmp_path / "logs", "--sql", "masked", metrics={"show_locks": 0.2, "show_server_status": 0.2}) as running:
        running.wait_for_polls("show_locks", "show_server_status")
        start = running.wait_for("start")
        records = running.records("show_locks") + running.records("show_server_status")

    assert start["sql"] == "masked"
    texts = {str(record.get("statement_string", record.get("statement"))) for record in records}
    assert texts
    assert not any("'" in text for text in texts)
    assert {statement_hash(text) for text in texts} == {record["statement_hash"] for record in records}
