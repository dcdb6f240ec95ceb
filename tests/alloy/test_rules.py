"""The alert rules of the shipped file: lines that fire each of them, and lines that don't."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Mapping, Sequence

import pytest
import yaml

from alloy.source.generated import rules as written_rules
from sqmon.config import catalogue, thresholds
from sqmon.records.column_names import normalised
from sqmon.simulator.generations import GENERATIONS, LOCKS, SERVER_STATUS
from tests.records.test_computed import NEW_LOCKS, OLD_LOCKS
from tests.support import ROOT
from tests.support.logql import evaluated
from tests.support.logql_lines import Entry
from tests.support.sites import EVALUATED, LICENCE, NODES, OLD_STATS, STATS, STATUS, Age, Site, licence, lock, node, own, statement

RULES = ROOT / "alloy" / "loki" / "rules.yaml"


def status(*rows: tuple[Any, ...]) -> Site:
    """Return a site that polls these statements."""
    return Site().polls("show_server_status", STATUS, [own(), *rows])


def locks(*rows: tuple[Any, ...], columns: Sequence[str] = NEW_LOCKS, held: bool = True) -> Site:
    """Return a site that polls these locks; their statement runs while they are `held`."""
    holder = [statement("Executing", 60, 60, number=7)] if held else []
    youngest = min((row[8].seconds for row in rows if len(row) > 8), default=600)
    return status(*holder).polls("show_locks", columns, rows, at=range(5, min(600, int(youngest)), 30))


def stats(worst: float, columns: Sequence[str] = STATS) -> Site:
    """Return a site whose metadata server once took that long."""
    row = ("2026-11-24 15:30:00", "10.0.0.1", 3105, "CheckLocksMsg", 9, 0.8, worst, "2026-11-24 15:00:00", 3.1)
    return Site().polls("get_leveldb_stats", columns, [row])


def licences(**values: Any) -> Site:
    """Return a site with this licence."""
    return Site().polls("get_license_info", LICENCE, [licence(**values)])


def two_nodes_then_one(*, polls_go_on: bool = True) -> Site:
    """Return a site that lost node_2 five minutes ago."""
    site = Site().polls("show_cluster_nodes", NODES, [node("node_1"), node("node_2")], at=range(300, 900, 30))
    return site.polls("show_cluster_nodes", NODES, [node("node_1")], at=range(0, 300, 30)) if polls_go_on else site


def queue(length: int) -> Site:
    """Return a site with so many waiting statements."""
    return status(*(statement("In Queue", 60, 50, number=100 + number, service="etl") for number in range(length)))


def queued_then_run() -> Site:
    """Return a site where a statement that waited for long has had its turn."""
    waiting, running = statement("In Queue", 9999, 9999), statement("Executing", 9999, 10)
    site = Site().polls("show_server_status", STATUS, [own(), waiting], at=range(100, 600, 30))
    return site.polls("show_server_status", STATUS, [own(), running], at=[30, 60])


def blocked(number: int) -> Site:
    """Return a site where so many statements wait for the lock of another one."""
    waiters = [("sqream", "node_1", "10.0.0.1", "etl", 20 + each, "delete from t", Age(60), "Preparing", Age(60)) for each in range(number)]
    row = lock(90)
    held = (*row[:5], "table$$public$t$Update", *row[6:])
    return status(statement("Executing", 99, 99, number=7), *waiters).polls("show_locks", NEW_LOCKS, [held])


def failures(number: int) -> Site:
    """Return a site with so many failed polls."""
    site = status()
    for second in range(number):
        site.event("poll", "warning", at=10 + second, target="show_locks", status="timeout")
    return site


def quiet_for(seconds: float) -> Site:
    """Return a site that has been silent for so long."""
    return Site().polls("show_server_status", STATUS, [own()], at=[seconds + ago for ago in range(0, 600, 30)])


T = thresholds
Case = Callable[[], Site]
FIRES: dict[str, list[Case]] = {
    "SqreamOrphanedLock": [
        lambda: locks(lock(T.ORPHANED_LOCK_SECONDS + 60, active=0), held=False),
        lambda: locks(lock(T.ORPHANED_LOCK_SECONDS + 60, OLD_LOCKS), columns=OLD_LOCKS, held=False),
    ],
    "SqreamLastingLock": [
        lambda: locks(lock(T.LOCK_SECONDS + 60)),
        lambda: locks(lock(T.LOCK_SECONDS + 60, OLD_LOCKS), columns=OLD_LOCKS),
    ],
    "SqreamStatementsBlocked": [lambda: blocked(T.BLOCKED_STATEMENTS)],
    "SqreamQueueDeep": [lambda: queue(T.QUEUE_DEPTH + 1)],
    "SqreamStatementQueued": [
        lambda: status(statement("In Queue", 2000, T.QUEUED_SECONDS + 60)),
        lambda: status(statement("In queue", 2000, T.QUEUED_SECONDS + 60)),
    ],
    "SqreamStatementStuck": [
        lambda: status(statement("Preparing", 2000, T.STUCK_SECONDS + 60)),
        lambda: status(statement("Stopping", 2000, T.STUCK_SECONDS + 60)),
    ],
    "SqreamStatementLong": [
        lambda: status(statement("Executing", 99999, T.EXECUTING_SECONDS.warning + 60)),
        lambda: status(statement("Execute", 99999, T.EXECUTING_SECONDS.warning + 60)),
    ],
    "SqreamStatementEndless": [lambda: status(statement("Executing", 99999, T.EXECUTING_SECONDS.critical + 60))],
    "SqreamNodeDown": [two_nodes_then_one],
    "SqreamHeartbeatOld": [lambda: Site().polls("show_cluster_nodes", NODES, [node("node_1", T.HEARTBEAT_SECONDS + 1)])],
    "SqreamMetadataSlow": [lambda: stats(T.METADATA_MS + 1), lambda: stats(T.METADATA_MS + 1, OLD_STATS)],
    "SqreamClockDiffers": [
        lambda: Site().polls("show_server_status", STATUS, [own(3600)]),
        lambda: Site().polls("show_server_status", STATUS, [own(-7200)]),
    ],
    "SqreamLicenceFillsUp": [lambda: licences(used=100 * T.LICENCE_USED.warning + 1)],
    "SqreamLicenceFull": [lambda: licences(used=100 * T.LICENCE_USED.critical + 1)],
    "SqreamLicenceExceeded": [lambda: licences(exceeded=1), lambda: licences(exceeded="1")],
    "SqreamLicenceExpired": [lambda: licences(expired=1), lambda: licences(expired="1")],
    "SqreamLicenceEndsSoon": [lambda: licences(days=int(T.LICENCE_DAYS.warning) - 1)],
    "SqreamLicenceEndsNow": [lambda: licences(days=int(T.LICENCE_DAYS.critical) - 1), lambda: licences(days=-3)],
    "SqmonSilent": [lambda: quiet_for(360)],
    "SqmonMetricFailing": [lambda: failures(T.FAILURES)],
    "SqmonGap": [
        lambda: status().event("gap", "warning", target="show_locks", reason="the connection was refused", lasted_s=3.0),
        lambda: status().event("gap", "warning", target="show_locks", reason="stopped", lasted_s=T.PLANNED_GAP_SECONDS + 1.0),
        lambda: status().event("gap", "error", target="show_locks", reason="no space left on device", first_seq=1, last_seq=2),
    ],
    "SqmonArchiveFailed": [lambda: status().event("archive_failed", "warning", reason="no space left on device")],
    "SqmonDeletedUnread": [lambda: status().event("segment_deleted", "warning", file="a/b", reason="size", target="show_locks")],
    "SqmonDiskRefusesLines": [lambda: status().event("backlog", "error", target="show_locks", reason="No space left on device", bytes=100)],
    "SqmonDiskInTrouble": [lambda: status().event("disk_warning", "warning", target="show_locks", reason="may not survive a power loss")],
    "SqmonNotProved": [lambda: status().event("proof", "warning", proved=False, reason="a/b is missing in Loki", unproved_lines=7)],
    "SqmonLoginPaused": [lambda: status().event("login_paused", "error", target="show_locks", reason="wrong password", until="")],
    "SqmonConfigRejected": [lambda: status().event("config_rejected", "error", file="m.json", problems="show_lock is no metric")],
}
HEALTHY: list[Case] = [
    lambda: status(statement("Executing", 600, 600), statement("In Queue", 60, 60), statement("Preparing", 60, 30)),
    lambda: locks(lock(60), lock(60, active=0)),
    lambda: locks(lock(60, OLD_LOCKS), columns=OLD_LOCKS),
    locks,
    lambda: stats(12.5),
    licences,
    lambda: Site().polls("show_cluster_nodes", NODES, [node("node_1"), node("node_2", 29)]),
    lambda: Site().polls("show_server_status", STATUS, [own(2)]),
]
QUIET: dict[str, list[Case]] = {
    "SqreamOrphanedLock": [
        lambda: locks(lock(T.ORPHANED_LOCK_SECONDS - 60, active=0)),
        lambda: locks(lock(T.ORPHANED_LOCK_SECONDS + 60)),
        lambda: locks(lock(9999, OLD_LOCKS), columns=OLD_LOCKS),
        lambda: Site().polls("show_locks", NEW_LOCKS, [lock(9999, active=0)], at=[200, 230]),
    ],
    "SqreamLastingLock": [
        lambda: locks(lock(T.LOCK_SECONDS - 60)),
        lambda: status().polls("show_locks", NEW_LOCKS, [lock(9999)], at=[200, 230]).polls("show_locks", NEW_LOCKS, [], at=[100]),
        lambda: locks(("7",), columns=("stmt_id",)),
    ],
    "SqreamStatementsBlocked": [lambda: blocked(T.BLOCKED_STATEMENTS - 1)],
    "SqreamQueueDeep": [lambda: queue(T.QUEUE_DEPTH - 1)],
    "SqreamStatementQueued": [
        lambda: status(statement("In Queue", 9999, 60)),
        lambda: status(statement("Executing", 9999, 9999)),
        queued_then_run,
    ],
    "SqreamStatementStuck": [lambda: status(statement("Preparing", 9999, 60))],
    "SqreamStatementLong": [lambda: status(statement("In Queue", 9999, 60))],
    "SqreamStatementEndless": [lambda: status(statement("Executing", 99999, T.EXECUTING_SECONDS.warning + 60))],
    "SqreamNodeDown": [lambda: two_nodes_then_one(polls_go_on=False)],
    "SqreamHeartbeatOld": [lambda: Site().polls("show_cluster_nodes", NODES, [node("node_1", T.HEARTBEAT_SECONDS)])],
    "SqreamClockDiffers": [
        lambda: Site().polls("show_server_status", STATUS, [own(30)]),
        lambda: status(statement("Executing", 9999, 999)),
    ],
    "SqreamLicenceFull": [lambda: licences(used=100 * T.LICENCE_USED.warning + 1)],
    "SqreamLicenceFillsUp": [lambda: Site().polls("get_license_info", ("cluster_size_limit",), [(100,)])],
    "SqreamLicenceEndsNow": [lambda: licences(days=int(T.LICENCE_DAYS.warning) - 1)],
    "SqmonSilent": [lambda: quiet_for(60)],
    "SqmonMetricFailing": [lambda: failures(T.FAILURES - 1), lambda: status().event("worker_exit", kind="planned", target="show_locks")],
    "SqmonGap": [
        lambda: Site().event("gap", "warning", at=900, target="show_locks", reason="x"),
        lambda: Site().event("gap", "warning", target="show_locks", reason="stopped", lasted_s=float(T.PLANNED_GAP_SECONDS)),
    ],
    "SqmonDeletedUnread": [lambda: status().event("segment_deleted", file="a/b", reason="size", target="show_locks")],
    "SqmonDiskRefusesLines": [lambda: status().event("backlog", "info", target="show_locks", reason="over", bytes=0)],
    "SqmonDiskInTrouble": [lambda: status().event("disk_warning", "info", target="show_locks", reason="over")],
    "SqmonNotProved": [lambda: status().event("proof", "info", proved=True, reason="", unproved_lines=0)],
}


def rules() -> dict[str, dict[str, Any]]:
    """Return every rule of the shipped file by its name."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


RULE = rules()
AT_CLUSTER = "{{ with $labels.cluster }}?var-cluster={{ . }}{{ end }}"
"""What makes the link of an alert choose its cluster, where that has a name."""


def cases(table: dict[str, list[Case]]) -> list[Any]:
    """Return one parameter per alert and case."""
    return [pytest.param(name, case, id=f"{name}-{number}") for name, found in table.items() for number, case in enumerate(found)]


def test_shipped_file_is_what_is_written() -> None:
    """The rules file is exactly what `python -m alloy.source` writes."""
    assert written_rules() == RULES.read_text("utf-8")


def test_every_alert_has_a_case() -> None:
    """Every alert has a case in which it fires."""
    assert set(RULE) == set(FIRES)
    assert set(QUIET) <= set(RULE)


@pytest.mark.parametrize(("name", "case"), cases(FIRES))
def test_alert_fires(name: str, case: Case) -> None:
    """An alert fires for the cluster in trouble, and not for the healthy one beside it."""
    well = [entry for healthy in HEALTHY for entry in healthy().entries]
    beside = [entry._replace(labels={**entry.labels, "cluster": "other"}) for entry in well]
    found = evaluated(RULE[name]["expr"], case().entries + beside, EVALUATED)

    assert {labels["cluster"] for labels, _ in found} == {"prod"}


STATUS_AND_LOCKS = {"show_server_status": SERVER_STATUS, "show_locks": LOCKS}


def older(site: Site, generation: str) -> list[Entry]:
    """Return the lines as they are with a server of an older generation: its names, and no column that it lacks."""

    def said(metric: str, record: Mapping[str, Any]) -> dict[str, Any]:
        function, sent = catalogue.FUNCTIONS.get(metric), STATUS_AND_LOCKS.get(metric)
        if function is None or sent is None:
            return {**record}
        there = set(normalised([column.name for column in sent[generation]], ()))
        names = {newer: old for old, newer in function.aliases.items() if old in there}
        known = {names.get(key, key): value for key, value in record.items()}
        return {key: value for key, value in known.items() if key in there or key not in function.columns}

    written = [entry._replace(line=json.dumps(said(entry.labels["metric"], json.loads(entry.line)))) for entry in site.written]
    return written + site.lives(said)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize(("name", "case"), [case for case in cases(FIRES) if case.values[0].startswith("Sqream")])
def test_alert_fires_whatever_the_server_calls_its_columns(name: str, case: Case, generation: str) -> None:
    """An alert fires for every generation of servers: before 4.7 that a lock is orphaned is inferred."""
    found = evaluated(RULE[name]["expr"], older(case(), generation), EVALUATED)

    said = RULE[name]["annotations"]["summary"] + RULE[name]["annotations"]["description"]

    assert found
    assert all(set(re.findall(r"\$labels\.(\w+)", said)) <= set(labels) for labels, _ in found)


@pytest.mark.parametrize(("name", "case"), cases(QUIET))
def test_alert_stays_quiet(name: str, case: Case) -> None:
    """An alert stays quiet just below its threshold, for other statuses, and where the server lacks the columns."""
    assert evaluated(RULE[name]["expr"], case().entries, EVALUATED) == []


@pytest.mark.parametrize("name", RULE)
@pytest.mark.parametrize("number", range(len(HEALTHY)))
def test_healthy_cluster_is_quiet(name: str, number: int) -> None:
    """No alert fires for any part of a healthy cluster."""
    assert evaluated(RULE[name]["expr"], HEALTHY[number]().entries, EVALUATED) == []


def test_nothing_at_all_is_silence() -> None:
    """SqmonSilent fires even where Loki has never had a line, though it can name no cluster then."""
    assert evaluated(RULE["SqmonSilent"]["expr"], [], EVALUATED) == [({"job": "sqmon", "metric": "sqmon"}, 1.0)]


@pytest.mark.parametrize("name", RULE)
def test_alert_says_what_to_do(name: str) -> None:
    """An alert uses labels that its expression has, a known severity, and a panel that exists."""
    rule = RULE[name]
    notes = rule["annotations"]
    used = set(re.findall(r"\$labels\.(\w+)", notes["summary"] + notes["description"]))
    boards = ROOT / "alloy" / "grafana" / "dashboards"
    panels = {
        f"/d/{board['uid']}": {panel["title"] for panel in board["panels"]}
        for board in (json.loads(path.read_text("utf-8")) for path in boards.glob("*.json"))
    }

    assert used <= {label for group in re.findall(r" by \(([^)]*)\)", rule["expr"]) for label in group.split(", ")}
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert notes["panel"] in panels[notes["dashboard"].replace(AT_CLUSTER, "")]
    assert notes["summary"].startswith("{{ or $labels.cluster $labels.instance }}: ")
    assert notes["dashboard"].endswith(AT_CLUSTER)


def test_thresholds_are_in_one_place() -> None:
    """Every number that an expression compares with is in thresholds.py, except zero."""
    known = {
        float(number)
        for value in vars(thresholds).values()
        for number in (value if isinstance(value, tuple) else (value,))
        if isinstance(number, (int, float))
    }
    compared = {float(number) for rule in RULE.values() for number in re.findall(r" [<>]=? -?([\d.]+)", rule["expr"])}

    assert compared - {0.0} <= known
