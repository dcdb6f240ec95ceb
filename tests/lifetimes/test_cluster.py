"""What becomes of statements, nodes, the licence, the server and its clock."""

from __future__ import annotations

from typing import Any

from tests.lifetimes.site import Site, after_noon, events, life, lock, own, server_time, statement, told


def test_statement_is_seen_changes_its_status_and_ends() -> None:
    """Each change of a status is a line with the bounds of the change; another spelling of a status is no change."""
    site = Site()
    site.statements(0.0)
    (seen,) = events(site.statements(2.0, statement(5, status="In queue", since=1)), "statement_seen")
    assert [] == site.statements(4.0, statement(5, status="In Queue", since=1))
    (status,) = site.statements(6.0, statement(5, status="Executing", since=1))
    (ended,) = site.statements(8.0)

    assert ("5", "In queue", "etl", (0.0, 2.5, 2.0, None)) == (seen["statement_id"], seen["status"], seen["username"], life(seen))
    assert ("statement_status", "In Queue", "Executing") == (status["event"], status["status_before"], status["status"])
    assert (4.0, 6.5) == (after_noon(status["changed_after"]), after_noon(status["changed_before"]))
    assert ("statement_ended", "Executing", "gone", (0.0, 2.5, 6.0, 8.5)) == (ended["event"], ended["status"], ended["end"], life(ended))


def test_statement_that_lasts_in_one_status_is_told_at_milestones() -> None:
    """Each status counts anew; what was worth a warning ends with one, whose milestone is 0."""
    site = Site()
    site.statements(0.0)
    for at in range(2, 1000, 5):
        site.statements(at, statement(5, status="In Queue", since=1))
    for at in range(1002, 1100, 5):
        site.statements(at, statement(5, status="Executing", since=1, statementstatusstart=server_time(1000)))
    site.statements(1102)

    told = [(line["event"], line["status"], line["milestone_s"], line["level"]) for line in site.lines if "milestone_s" in line]
    assert told == [
        ("statement_seen", "In Queue", 0, "info"),
        *[("statement_status", "In Queue", each, "info") for each in (10, 60, 300)],
        *[("statement_status", "In Queue", each, "warning") for each in (600, 900)],
        ("statement_status", "Executing", 0, "warning"),
        *[("statement_status", "Executing", each, "info") for each in (10, 60)],
        ("statement_ended", "Executing", 0, "info"),
    ]


def test_polls_of_the_monitor_itself_are_no_statements() -> None:
    """Neither the poll's own statement nor another poll of the same role has a lifetime; the same text of somebody else has."""
    site = Site()
    other = statement(8, "SELECT show_locks();", user_name="sq_monitor")
    lines = site.statements(0.0, other, statement(9, "select show_locks()", user_name="dba"))

    assert [("statement_seen", "9")] == told(events(lines, "statement_seen"))


def test_node_is_down_after_two_polls_without_it() -> None:
    """One poll that misses a node is no outage; two are, with the bounds of the first."""
    nodes: list[dict[str, Any]] = [{"instance_id": f"node_{number}", "server_ip": "10.0.0.1", "server_port": 5000} for number in (1, 2)]
    site = Site()
    assert ["node_up", "node_up"] == [line["event"] for line in site.poll("show_cluster_nodes", 0.0, nodes)]
    site.poll("show_cluster_nodes", 4.0, nodes)
    assert [] == site.poll("show_cluster_nodes", 8.0, nodes[:1])
    assert [] == site.poll("show_cluster_nodes", 12.0, nodes)
    assert [] == site.poll("show_cluster_nodes", 16.0, nodes[:1])
    (down,) = site.poll("show_cluster_nodes", 20.0, nodes[:1])
    (up,) = site.poll("show_cluster_nodes", 24.0, nodes)

    assert ("node_down", "node_2", 12.0, 16.5) == (down["event"], down["instance_id"], *life(down)[2:])
    assert ("node_up", "node_2", (20.0, 24.5, 24.0, None)) == (up["event"], up["instance_id"], life(up))


def test_licence_changes_are_told_by_column() -> None:
    """A column that changes has a line; a size has one when it has changed by a hundredth since it was told."""
    site = Site()
    row = {"cluster_size_limit": 100, "compressed_cluster_size": 50, "expiration_date": "2027-01-01", "days_to_expiration": 38}
    assert [] == site.poll("get_license_info", 0.0, [row])
    assert [] == site.poll("get_license_info", 5.0, [{**row, "compressed_cluster_size": "50.4", "days_to_expiration": 37}])
    size, date = site.poll("get_license_info", 10.0, [{**row, "compressed_cluster_size": 51, "expiration_date": "2028-01-01"}])

    assert ("licence_changed", "compressed_cluster_size", 50, 51) == tuple(size[name] for name in ("event", "column", "before", "now"))
    assert ("expiration_date", "2027-01-01", "2028-01-01") == tuple(date[name] for name in ("column", "before", "now"))
    assert (5.0, 10.5) == (after_noon(date["began_after"]), after_noon(date["began_before"]))


def test_smaller_number_of_the_own_statement_is_a_restart() -> None:
    """A restart is within the two polls; what lived before it ended with it, what came after it lives on."""
    site = Site()
    site.statements(0.0, statement(90), own_id=100)
    site.locks(1.0, lock(90))
    site.statements(2.0, statement(90), own_id=102)
    site.locks(8.5, lock(1, since=7))
    lines = site.statements(9.0, statement(1, since=7), own_id=3)
    (restarted,) = events(lines, "server_restarted")
    (ended,) = events(lines, "statement_ended")

    assert ("3", "102", 2.0, 9.5, "seen") == (
        restarted["statement_id"],
        restarted["statement_id_before"],
        after_noon(restarted["began_after"]),
        after_noon(restarted["began_before"]),
        restarted["certainty"],
    )
    assert ("90", "server_restarted") == (ended["statement_id"], ended["end"])
    (released,) = site.locks(11.0)
    assert ("1", "gone") == (released["statement_id"], released["end"])


def test_lock_that_a_restart_ended_has_its_bound() -> None:
    """A lock that is missed after the restart was known ended before it was known."""
    site = Site()
    site.locks(0.0, lock(90))
    site.statements(2.0, own_id=100)
    site.locks(3.0, lock(90))
    site.statements(4.0, own_id=2)
    (released,) = site.locks(60.0)

    assert ("server_restarted", 3.0, 4.5) == (released["end"], *life(released)[2:])


def test_second_monitor_leaves_restarts_and_the_clock_alone() -> None:
    """Two statements that might both be the poll's own say nothing about the server."""
    site = Site()
    site.statements(0.0, own_id=100)

    assert [] == events(site.statements(2.0, own(5, 2.1), own_id=4), "server_restarted", "clock_offset")


def test_servers_clock_is_measured_and_narrows() -> None:
    """The offset lies within the bounds at every poll, whatever the zone, and they narrow to about the poll's duration."""
    site = Site()
    skew = 9 * 3600 + 12.4
    for number in range(60):
        site.statements(number * 7.31, skew=skew)

    offsets = events(site.lines, "clock_offset")
    assert all(line["offset_min_s"] <= skew <= line["offset_max_s"] for line in offsets)
    assert {540} == {line["zone_minutes"] for line in offsets}
    last = offsets[-1]
    assert last["skew_min_s"] <= 12.4 <= last["skew_max_s"]
    assert last["offset_max_s"] - last["offset_min_s"] < 1.0
    assert len(offsets) < 6


def test_step_of_the_servers_clock_is_told() -> None:
    """A time that no drift explains is a step, after which the offset is measured anew."""
    site = Site()
    for number in range(10):
        site.statements(number * 7.31, skew=0.0)
    (stepped,) = events(site.statements(80.0, skew=-3600.0), "clock_offset")

    assert (True, -60) == (stepped["stepped"], stepped["zone_minutes"])
    assert stepped["offset_min_s"] <= -3600.0 <= stepped["offset_max_s"]
