"""What each view says of a moment."""

from __future__ import annotations

from typing import Any

import pytest

from sqmon.config import thresholds
from sqmon.top.frame import Scene, scene_of
from sqmon.top.moment import Moment
from sqmon.top.table import Level, Row, Table
from sqmon.top.views import VIEWS
from tests.lifetimes.site import NOON_NS, SECOND, lock
from tests.top.moments import LICENCE, known, moment, node, poll, runs

NUMBERS = {view.name: number for number, view in enumerate(VIEWS)}


def table(name: str, of: Moment) -> Table:
    """Return the table of a view."""
    return scene_of(of).tables[NUMBERS[name]]


def cells(shown: Table, *names: str) -> list[tuple[str, ...]]:
    """Return what the rows say in these columns."""
    places = [[column.name for column in shown.columns].index(name) for name in names]
    return [tuple(row.cells[place].text for place in places) for row in shown.rows()]


def level(shown: Table, key: str) -> Level:
    """Return how bad the row is that has this key."""
    (row,) = [row for row in shown.rows() if row.key == key]
    return row.level


def badge(of: Moment, name: str) -> str:
    """Return what is said beside the name of a view."""
    return VIEWS[NUMBERS[name]].badge(scene_of(of).picture)


def held(number: int, locked: str = "table$master$public$t$Update", **more: Any) -> dict[str, Any]:
    """Return a row of show_locks that was taken right at noon."""
    return lock(number, locked, **{"lock_age_s": 11, "statement_age_s": 12, "is_statement_active": 1, **more})


def waiting(number: int, text: str = "delete from t where x = 1", *, age: int = 5) -> Any:
    """Return a statement that is being prepared for so long."""
    return runs(number, text, age=age, status="Preparing", instanceid=None)


def test_running_statements_are_those_that_have_left_the_queue() -> None:
    """Running and queued statements are told apart whatever the case of their status, the oldest first, without the monitor's own."""
    now = moment(
        statements=[runs(1, age=3), runs(2, age=70), runs(3, status="In Queue", instanceid="None"), runs(4, status="In queue", age=9)]
    )

    assert [("2", "node_1", "1 min 10 s"), ("1", "node_1", "3 s")] == cells(table("running", now), "statement", "worker", "age")
    assert [("4", "9 s"), ("3", "5 s")] == cells(table("queued", now), "statement", "waits")
    assert ("2", "2") == (badge(now, "running"), badge(now, "queued"))
    assert ["1 more is a poll of the monitor itself"] == [line.text for line in table("running", now).after]


@pytest.mark.parametrize(
    ("status", "seconds", "expected"),
    [
        ("Executing", thresholds.EXECUTING_SECONDS.warning, Level.FINE),
        ("Executing", thresholds.EXECUTING_SECONDS.warning + 1, Level.WARNING),
        ("Executing", thresholds.EXECUTING_SECONDS.critical + 1, Level.CRITICAL),
        ("Preparing", thresholds.STUCK_SECONDS + 1, Level.WARNING),
        ("Stopping", thresholds.STUCK_SECONDS + 1, Level.WARNING),
        ("Initializing", thresholds.STUCK_SECONDS + 1, Level.FINE),
    ],
)
def test_statements_are_judged_by_the_thresholds_of_the_alerts(status: str, seconds: int, expected: Level) -> None:
    """A statement deserves a look when the alert for its status would fire."""
    assert expected == level(table("running", moment(statements=[runs(1, status=status, age=seconds)])), "statement 1")


def test_queues_are_judged_by_their_depth_and_their_age() -> None:
    """A deep queue is marked at its service, a long wait at its statement."""
    deep = moment(statements=[runs(number, status="In queue") for number in range(thresholds.QUEUE_DEPTH + 1)])
    long = moment(statements=[runs(1, status="In queue", age=thresholds.QUEUED_SECONDS + 1)])

    assert ["queued per service  sqream 11"] == [line.text for line in table("queued", deep).notes]
    assert Level.WARNING == VIEWS[NUMBERS["queued"]].level(scene_of(deep).picture, table("queued", deep))
    assert Level.WARNING == level(table("queued", long), "statement 1")


def test_holders_stand_above_those_who_wait_for_them() -> None:
    """Waiters are below the statement in their way, those that wait for a waiter below it, and what blocks most is first."""
    now = moment(
        statements=[
            runs(7, "update t set x = 1"),
            runs(8, "insert into u values (1)"),
            waiting(9),
            waiting(10, "create or replace table t (x int)"),
            waiting(11, "alter table v add column y int"),
        ],
        locks=[held(8, "table$master$public$u$Insert", mode="Inclusive", lock_age_s=500), held(7), held(9, "globalpermission$")],
    )

    assert [
        ("7", "exclusive", "master.public.t Update", "blocks 2"),
        ("9", "wants exclusive", "master.public.t Update", "waits, blocks 2"),
        ("10", "wants exclusive", "globalpermission +1", "waits also for 7"),
        ("11", "wants exclusive", "globalpermission", "waits"),
        ("8", "inclusive", "master.public.u Insert", ""),
    ] == cells(table("locks", now), "statement", "mode", "object", "state")
    assert ["", "└ ", "  ├ ", "  └ ", ""] == [row.branch for row in table("locks", now).rows()]
    assert ["7", "8"] == [group[0].copy for group in table("locks", now).groups]
    assert "3, 3 wait" == badge(now, "locks")
    assert "inferred" in " ".join(line.text for line in table("locks", now).after)


def test_statements_that_wait_for_each_other_are_shown_once() -> None:
    """A ring of waits is a tree that begins somewhere, with every statement in it."""
    now = moment(
        statements=[waiting(7, "update a set x = 1"), waiting(8, "update b set x = 1")],
        locks=[held(7, "table$master$public$b$Update"), held(8, "table$master$public$a$Update")],
    )

    assert ["7", "8"] == sorted(row.copy for row in table("locks", now).rows())


def test_locks_are_judged_by_the_thresholds_of_the_alerts() -> None:
    """A lock that lasts deserves a look, and an orphaned one does so sooner."""
    now = moment(
        locks=[
            held(7, lock_age_s=thresholds.LOCK_SECONDS + 1),
            held(8, lock_age_s=thresholds.ORPHANED_LOCK_SECONDS + 1),
            held(9, lock_age_s=thresholds.ORPHANED_LOCK_SECONDS + 1, is_statement_active=0),
        ]
    )
    shown = table("locks", now)

    assert [Level.WARNING, Level.FINE, Level.WARNING] == [level(shown, f"statement {number}") for number in (7, 8, 9)]
    assert ("9", "orphaned") in cells(shown, "statement", "state")


def test_workers_that_were_listed_and_are_not_are_gone() -> None:
    """A worker that an earlier poll of the hour listed comes first, as critical; one that is silent deserves a look."""
    now = moment(
        statements=[runs(5, "select 5", instanceid="node_2")],
        nodes=[node("node_1", thresholds.HEARTBEAT_SECONDS + 1), node("node_2", state="busy")],
        nodes_before=poll("show_cluster_nodes", -3000, [node("node_1"), node("node_3")]),
    )
    shown = table("workers", now)

    assert [("node_3", "gone", "", ""), ("node_1", "available", "31 s ago", ""), ("node_2", "busy", "2 s ago", "5")] == cells(
        shown, "worker", "state", "heartbeat", "statement"
    )
    assert [Level.CRITICAL, Level.WARNING, Level.FINE] == [row.level for row in shown.rows()]


def test_the_slowest_answer_of_the_metadata_server_is_told() -> None:
    """Where the statistics are polled, the view of workers says how long the worst answer took."""
    stats = poll("get_leveldb_stats", 9, [{"msg": "CheckLocksMsg", "max": 1250.4}, {"msg": "NodeHeartbeatMsg", "max": 12.5}])
    (line,) = table("workers", moment(nodes=[node("node_1")], metrics={"get_leveldb_stats": known(stats)})).after

    assert line.text.endswith("took 1,250 ms (CheckLocksMsg)")
    assert "warning" in {span.style for span in line.spans}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Level.FINE),
        ({"size_used_ratio": 0.95}, Level.WARNING),
        ({"size_used_ratio": 0.99}, Level.CRITICAL),
        ({"days_to_expiration": 59}, Level.WARNING),
        ({"days_to_expiration": 13}, Level.CRITICAL),
        ({"is_date_expired": "1"}, Level.CRITICAL),
    ],
)
def test_licence_is_judged_by_the_thresholds_of_the_alerts(change: dict[str, Any], expected: Level) -> None:
    """A licence deserves a look when its alert would fire."""
    fine = {**LICENCE, "days_to_expiration": 365}
    shown = table("licence", moment(licence={**fine, **change}))

    assert expected == max(row.level for row in shown.rows())
    assert "50%" == badge(moment(licence=fine), "licence")


def test_metrics_of_the_monitor_are_told_with_their_trouble() -> None:
    """The monitor's view has each metric with its newest poll, what is wrong with it, and the newest warnings."""
    event = {
        "ts": "2026-11-24T12:00:05.000000000Z",
        "level": "error",
        "event": "login_paused",
        "target": "show_locks",
        "reason": "no\x1b[2J",
    }
    late = known(poll("show_locks", -49.5, []), "timeout: no answer", status="timeout")
    now = moment(metrics={"show_locks": late}, events=[event])
    shown = table("monitor", now)

    ended = now.time(NOON_NS - 49 * SECOND)
    assert ("show_locks", "timeout", ended, "timeout: no answer") in cells(shown, "metric", "status", "last good", "trouble")
    assert Level.WARNING == level(shown, "metric show_locks")
    assert "login_paused show_locks: no\\x1b[2J" in shown.after[-1].text


def test_detail_has_everything_about_a_statement() -> None:
    """An opened statement shows its text in full, its locks, whom it waits for and whom it blocks."""
    now = moment(
        statements=[runs(7, "update t\nset x = 1"), waiting(9), waiting(10)],
        locks=[held(7), held(9, "globalpermission$")],
    )
    rows = {row.copy: row for row in table("locks", now).rows()}
    holder, waiter = detail_text(rows["7"]), detail_text(rows["9"])

    assert "update t\nset x = 1" in holder
    assert [] == [part for part in ("blocks 2", "9 of etl", "table$master$public$t$Update") if part not in holder]
    assert "waits for (Exclusive wanted, Exclusive held on table$master$public$t$Update)" in waiter
    assert "7 of etl: update t set x = 1" in waiter


def detail_text(row: Row) -> str:
    """Return everything that the detail of a row says."""
    assert row.detail is not None
    detail = row.detail()
    facts = [f"{fact.name} {fact.cell.text}" for fact in detail.facts]
    lists = [part for heading, lines in detail.lists for part in (heading, *(line.text for line in lines))]
    return "\n".join([detail.title, *facts, detail.text, *lists])


def test_nothing_polled_is_nothing_wrong() -> None:
    """Without any poll every view says so, and none fails."""
    scene = scene_of(Moment(0, "", {}))

    assert isinstance(scene, Scene)
    assert [0] * len(VIEWS) == [len(shown.rows()) for shown in scene.tables]
    assert all(shown.empty for shown in scene.tables)
