"""Who waits for whom: inferred from what is held and what the texts want."""

from __future__ import annotations

from typing import Any

import pytest

from sqmon.lifetimes.history import History, Range
from sqmon.lifetimes.wanted import conflict, wanted
from tests.lifetimes.site import Site, events, life, lock, statement

T = "table$master$public$t"


def waiting(number: int, text: str, *, since: float) -> dict[str, Any]:
    """Return a row of a statement that is being prepared."""
    return statement(number, text, since=since, status="Preparing")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select * from t", {}),
        ("with x as (select 1) select * from x", {}),
        ("copy t to wrapper csv_fdw options ('x')", {}),
        ("-- the nightly one\n /* t */ INSERT INTO t SELECT 1", {f"{T}$Insert": "Inclusive"}),
        ("copy T from wrapper csv_fdw", {f"{T}$Insert": "Inclusive"}),
        ('update public."T" set x = ?', {"table$master$public$T$Update": "Exclusive"}),
        ("delete from sales.public.t where x = 1", {"table$sales$public$t$Update": "Exclusive"}),
        ("truncate table if exists t", {f"{T}$Update": "Exclusive"}),
        ("drop table t", {f"{T}$Update": "Exclusive", f"{T}$Insert": "Exclusive", "globalpermission$": "Exclusive"}),
        ("create or replace table t as select 1", {f"{T}$Insert": "Exclusive", f"{T}$Update": "Exclusive"}),
        ("create schema s", {"schema$master$s": "Exclusive", "globalpermission$": "Exclusive"}),
        ("drop database old", {"database$old": "Exclusive"}),
        ("grant select on table t to r", {"globalpermission$": "Exclusive"}),
        ("", {}),
    ],
)
def test_text_says_which_locks_are_wanted(text: str, expected: dict[str, str]) -> None:
    """The first words of a statement and its object decide, as the table of SQreamDB's guide says."""
    found = wanted(text, "master")

    assert expected.items() <= found.items()
    assert bool(expected) == bool(found)


def test_modes_conflict_unless_both_are_inclusive() -> None:
    """Two locks on one object exclude each other when either is Exclusive, however it is spelled."""
    assert conflict("Exclusive", "Inclusive")
    assert conflict("inclusive", "exclusive")
    assert not conflict("Inclusive", "Inclusive")


def test_statement_that_wants_a_held_lock_is_blocked_until_it_goes_on() -> None:
    """The line names the holder, the object, the rule, and what may be known of how long it waited."""
    site = Site()
    site.statements(0.0)
    site.locks(1.0, lock(7))
    (blocked,) = events(site.statements(4.0, statement(7), waiting(9, "delete from t", since=2)), "statement_blocked")
    (unblocked,) = events(site.statements(6.0, statement(9, "delete from t", since=2)), "statement_unblocked")

    assert ("9", "7", "7", 1, f"{T}$Update", "inferred", f"Exclusive wanted, Exclusive held on {T}$Update") == tuple(
        blocked[name] for name in ("statement_id", "blocked_by", "root", "depth", "locked_object", "certainty", "rule")
    )
    assert (0.0, 4.5, 4.0, None) == life(blocked)
    assert ("9", "7", "went_on", (0.0, 4.5, 4.0, 6.5)) == (
        unblocked["statement_id"],
        unblocked["blocked_by"],
        unblocked["end"],
        life(unblocked),
    )


def test_holder_that_is_seen_later_blocks_those_who_waited_already() -> None:
    """A lock that a poll shows after the statements counts when it was taken before they were listed, else it doesn't."""
    site = Site()
    site.locks(0.0)
    site.statements(4.0, waiting(9, "delete from t", since=2), waiting(10, "delete from u", since=2))
    lines = site.locks(5.0, lock(7, since=2), lock(8, "table$master$public$u$Update", since=5))

    assert [("9", "7")] == [(line["statement_id"], line["blocked_by"]) for line in events(lines, "statement_blocked")]


def test_statement_that_gets_its_lock_is_let_in() -> None:
    """A statement that show_locks shows with what it wanted waits no more."""
    site = Site()
    site.locks(0.0, lock(7))
    site.statements(4.0, statement(7), waiting(9, "delete from t", since=2))
    (unblocked,) = events(site.locks(5.0, lock(9, since=5)), "statement_unblocked")

    assert ("9", "let_in") == (unblocked["statement_id"], unblocked["end"])
    assert [] == events(site.statements(6.0, waiting(9, "delete from t", since=2)), "statement_blocked")


def test_statement_waits_for_what_it_lacks_of_what_it_wants() -> None:
    """A statement that has one of its locks waits for the other, and not for an object of which it has its own."""
    site = Site()
    site.locks(3.0, lock(9, "database$master", mode="Inclusive"), lock(7), lock(10, f"{T}2$Update"), lock(8, f"{T}2$Update"))
    lines = site.statements(4.0, waiting(9, "delete from t", since=1), waiting(10, "delete from t2", since=1))

    assert [("9", "7")] == [(line["statement_id"], line["blocked_by"]) for line in events(lines, "statement_blocked")]


def test_lock_that_is_gone_holds_up_nobody() -> None:
    """When the lock in the way is gone, the wait is over, whatever the statement does next."""
    site = Site()
    site.locks(0.0, lock(7))
    site.statements(4.0, statement(7), waiting(9, "delete from t", since=2))
    (unblocked,) = events(site.locks(5.0), "statement_unblocked")

    assert ("9", "released") == (unblocked["statement_id"], unblocked["end"])


def test_statement_that_is_only_being_compiled_does_not_wait() -> None:
    """A statement within its first second, one that reads, and one whose lock agrees with those that are held are not blocked."""
    site = Site()
    site.locks(3.0, lock(7), lock(8, f"{T}2$Insert", mode="Inclusive"))
    lines = site.statements(
        4.0,
        waiting(9, "delete from t", since=4),
        waiting(10, "select 1 from t", since=1),
        waiting(11, "insert into t2 values (1)", since=1),
    )

    assert [] == events(lines, "statement_blocked")


def test_old_polls_of_locks_block_nobody() -> None:
    """Locks that were seen long before the statements say nothing about who waits."""
    site = Site()
    site.locks(0.0, lock(7))

    assert [] == events(site.statements(60.0, waiting(9, "delete from t", since=50)), "statement_blocked")


def test_chain_of_waits_has_its_root_and_depth() -> None:
    """A statement that waits for one that waits itself has the end of the chain as its root."""
    site = Site()
    site.locks(3.0, lock(7), lock(9, "table$master$public$u$Update", since=1))
    lines = site.statements(4.0, waiting(9, "delete from t", since=1), waiting(11, "delete from u", since=2))

    found = [tuple(line[name] for name in ("statement_id", "blocked_by", "root", "depth")) for line in events(lines, "statement_blocked")]
    assert [("9", "7", "7", 1), ("11", "9", "7", 2)] == found


def test_statement_that_several_hold_up_waits_for_each_of_them() -> None:
    """All holders and all objects are named, and each holder's lock has the wait."""
    site = Site()
    site.locks(3.0, lock(7), lock(8, f"{T}$Insert", mode="Inclusive"), lock(10, f"{T}$Insert", mode="Inclusive"))
    (blocked,) = events(site.statements(4.0, waiting(9, "drop table t", since=1)), "statement_blocked")
    history = History(Range(None, None))
    for line in site.lines:
        history.take(line)

    assert ("8,10,7", f"{T}$Insert,{T}$Update") == (blocked["blocked_by"], blocked["locked_object"])
    assert {"7": ["9"], "8": ["9"], "10": ["9"]} == {
        each["statement_id"]: [wait["statement_id"] for wait in history.waiters(each)] for each in history.of("locks")
    }


def test_circle_of_waits_ends() -> None:
    """Two statements that hold what the other wants are both blocked."""
    site = Site()
    site.locks(3.0, lock(7, "table$master$public$u$Update"), lock(9))
    lines = site.statements(4.0, waiting(7, "delete from t", since=1), waiting(9, "delete from u", since=1))

    assert [("7", "9"), ("9", "7")] == [(line["statement_id"], line["blocked_by"]) for line in events(lines, "statement_blocked")]
