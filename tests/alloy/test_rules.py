"""The alert rules: for each one lines that fire it and lines that don't, evaluated with the expressions of the shipped file."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from typing import Any, Callable, Iterable, NamedTuple, Sequence

import pytest
import yaml

from alloy.source import thresholds
from alloy.source.generated import rules as written_rules
from sqmon.config.time_zone import zone_of
from sqmon.records.computed import Computation
from sqmon.records.encoder import Encoder
from sqmon.result import by_column
from tests.records.test_computed import NEW_LOCKS, OLD_LOCKS
from tests.support import ROOT
from tests.support.logql import Entry, evaluated

RULES = ROOT / "alloy" / "loki" / "rules.yaml"
NOW = int(time.time())
"""When the rules are evaluated: Loki takes no lines of another week."""

STATUS = (
    "service",
    "instanceid",
    "serverip",
    "user_name",
    "statementid",
    "statement",
    "statementstarttime",
    "statementstatus",
    "statementstatusstart",
)
NODES = ("server_ip", "server_port", "connection_id", "instance_id", "last_heartbeat", "connection_status")
STATS = ("timestamp", "server_ip", "server_port", "msg", "count", "average", "max", "max_timestamp", "variance")
OLD_STATS = ("ts", "server_ip", "server_port", "msg", "m_count", "m_average", "m_max", "m_max_timestamp", "m_variance")
LICENCE = (
    "compressed_cluster_size",
    "uncompressed_cluster_size",
    "compress_type",
    "cluster_size_limit",
    "expiration_date",
    "is_date_expired",
    "is_size_exceeded",
    "cluster_size_left",
)
OWN = "select show_server_status();"


class Site:
    """The lines of one sqmon, as an agent would label them."""

    def __init__(self, cluster: str = "prod") -> None:
        self.cluster = cluster
        self.entries: list[Entry] = []
        self._encoders: dict[str, Encoder] = {}
        self._polls = 0

    def polls(
        self, metric: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]], *, at: Iterable[float] = range(0, 600, 30)
    ) -> Site:
        """Poll `rows` at these times before now, with the computed columns and with the event of each poll."""
        computation = Computation(metric, query=OWN, user="sqream", zone=zone_of("UTC"))
        kept = list(rows)
        for ago in sorted(at, reverse=True):
            self._polls += 1
            nanoseconds = int((NOW - ago) * 1e9)
            rows_then = [tuple(_written(value, ago) for value in row) for row in kept]
            extended = computation.extended(by_column([*columns], rows_then), computation.at(nanoseconds))
            for batch in self._encoder(metric).part(extended, poll=self._polls, poll_rows=len(kept), started_ns=nanoseconds):
                self._add(metric, batch.data)
            self.event("poll", at=ago, target=metric, status="ok" if kept else "empty", rows=len(kept))
        return self

    def event(self, event: str, level: str = "info", at: float = 10, **fields: Any) -> Site:
        """Write an event of sqmon."""
        self._add("sqmon", self._encoder("sqmon").event(level, event, fields, now_ns=int((NOW - at) * 1e9)).data)
        return self

    def _encoder(self, metric: str) -> Encoder:
        return self._encoders.setdefault(metric, Encoder(metric, f"run-{self.cluster}"))

    def _add(self, metric: str, data: bytes) -> None:
        for line in data.decode().splitlines():
            record = json.loads(line)
            seconds = _seconds(record["ts"])
            labels = {"job": "sqmon", "cluster": self.cluster, "instance": "host", "filename": f"/{metric}.jsonl", "metric": metric}
            labels.update({"run_id": record["run_id"]}, **({"level": record["level"]} if "level" in record else {}))
            self.entries.append(Entry(seconds, labels, line))


class Age(NamedTuple):
    """A time that was so long before now, or before each poll, written as the server writes it: the day first or the year first."""

    seconds: float
    form: str = "%Y-%m-%d %H:%M:%S"
    of_poll: bool = False


def _written(value: Any, poll_ago: float) -> Any:
    if isinstance(value, Age):
        since = NOW - value.seconds - (poll_ago if value.of_poll else 0)
        return f"{dt.datetime.fromtimestamp(since, dt.timezone.utc):{value.form}}"
    return value


def _seconds(text: str) -> float:
    return dt.datetime.fromisoformat(text[:26] + "+00:00").timestamp()


def lock(seconds: float, columns: Sequence[str] = NEW_LOCKS, active: int = 1) -> tuple[Any, ...]:
    """A row of show_locks whose lock is that old."""
    row = (
        "7",
        "insert into t",
        "etl",
        "10.0.0.1",
        5000,
        "table$t",
        "Exclusive",
        Age(seconds, "%d-%m-%Y %H:%M:%S"),
        Age(seconds),
        active,
        1,
    )
    return row[: len(columns)]


def statement(status: str, started: float, since: float, number: int = 11, service: str = "sqream") -> tuple[Any, ...]:
    """A row of show_server_status."""
    return (service, "node_1", "10.0.0.1", "etl", number, "select 1", Age(started), status, Age(since))


def own(seconds: float = 0) -> tuple[Any, ...]:
    """The poll's own row, which show_server_status always has."""
    return ("monitor", "node_9", "10.0.0.9", "sqream", 1, OWN, Age(seconds, of_poll=True), "Executing", Age(seconds, of_poll=True))


def node(name: str, heartbeat: float = 2) -> tuple[Any, ...]:
    """A row of show_cluster_nodes."""
    return ("10.0.0.1", 5000, 3, name, heartbeat, "available")


def licence(used: float = 10, days: int = 365, expired: object = 0, exceeded: object = 0) -> tuple[Any, ...]:
    """A row of get_license_info with a limit of 100."""
    return (used, 3 * used, "compressed", 100, Age(-days * 86400, "%Y-%m-%d"), expired, exceeded, 100 - used)


def status(*rows: tuple[Any, ...]) -> Site:
    """A site that polls these statements."""
    return Site().polls("show_server_status", STATUS, [own(), *rows])


def locks(*rows: tuple[Any, ...], columns: Sequence[str] = NEW_LOCKS) -> Site:
    """A site that polls these locks."""
    return Site().polls("show_locks", columns, rows)


def stats(worst: float, columns: Sequence[str] = STATS) -> Site:
    """A site whose metadata server once took that long."""
    row = ("2026-11-24 15:30:00", "10.0.0.1", 3105, "CheckLocksMsg", 9, 0.8, worst, "2026-11-24 15:00:00", 3.1)
    return Site().polls("get_leveldb_stats", columns, [row])


def licences(**values: Any) -> Site:
    """A site with this licence."""
    return Site().polls("get_license_info", LICENCE, [licence(**values)])


def two_nodes_then_one(*, polls_go_on: bool = True) -> Site:
    """node_2 is gone since five minutes."""
    site = Site().polls("show_cluster_nodes", NODES, [node("node_1"), node("node_2")], at=range(300, 900, 30))
    return site.polls("show_cluster_nodes", NODES, [node("node_1")], at=range(0, 300, 30)) if polls_go_on else site


def queue(length: int) -> Site:
    """A site with so many waiting statements."""
    return status(*(statement("In Queue", 60, 50, number=100 + number, service="etl") for number in range(length)))


def failures(number: int) -> Site:
    """So many failed polls."""
    site = status()
    for second in range(number):
        site.event("poll", "warning", at=10 + second, target="show_locks", status="timeout")
    return site


def quiet_for(seconds: float) -> Site:
    """Nothing since then."""
    return Site().polls("show_server_status", STATUS, [own()], at=[seconds + ago for ago in range(0, 600, 30)])


T = thresholds
Case = Callable[[], Site]
FIRES: dict[str, list[Case]] = {
    "SqreamOrphanedLock": [lambda: locks(lock(T.ORPHANED_LOCK_SECONDS + 60, active=0))],
    "SqreamLastingLock": [
        lambda: locks(lock(T.LOCK_SECONDS + 60)),
        lambda: locks(lock(T.LOCK_SECONDS + 60, OLD_LOCKS), columns=OLD_LOCKS),
    ],
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
        lambda: status(statement("Executing", T.EXECUTING_SECONDS.warning + 60, 10)),
        lambda: status(statement("Execute", T.EXECUTING_SECONDS.warning + 60, 10)),
    ],
    "SqreamStatementEndless": [lambda: status(statement("Executing", T.EXECUTING_SECONDS.critical + 60, 10))],
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
    "SqmonGap": [lambda: status().event("gap", "warning", target="show_locks", reason="the connection was refused", since="", until="")],
    "SqmonDiskRefusesLines": [lambda: status().event("backlog", "error", target="show_locks", reason="No space left on device", bytes=100)],
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
    "SqreamLastingLock": [lambda: locks(lock(T.LOCK_SECONDS - 60)), lambda: locks(("7",), columns=("stmt_id",))],
    "SqreamQueueDeep": [lambda: queue(T.QUEUE_DEPTH - 1)],
    "SqreamStatementQueued": [lambda: status(statement("In Queue", 9999, 60)), lambda: status(statement("Executing", 9999, 9999))],
    "SqreamStatementStuck": [lambda: status(statement("Preparing", 9999, 60))],
    "SqreamStatementLong": [lambda: status(statement("In Queue", 9999, 60))],
    "SqreamStatementEndless": [lambda: status(statement("Executing", T.EXECUTING_SECONDS.warning + 60, 10))],
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
    "SqmonGap": [lambda: Site().event("gap", "warning", at=900, target="show_locks", reason="x")],
    "SqmonDiskRefusesLines": [lambda: status().event("backlog", "info", target="show_locks", reason="over", bytes=0)],
}


def rules() -> dict[str, dict[str, Any]]:
    """Every rule of the shipped file by its name."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


RULE = rules()


def cases(table: dict[str, list[Case]]) -> list[Any]:
    """One parameter per alert and case."""
    return [pytest.param(name, case, id=f"{name}-{number}") for name, found in table.items() for number, case in enumerate(found)]


def test_shipped_file_is_what_is_written() -> None:
    """Whoever changes the source or the thresholds runs `python -m alloy.source`."""
    assert written_rules() == RULES.read_text("utf-8")


def test_every_alert_has_a_case() -> None:
    """An alert that was never seen to fire is none."""
    assert set(RULE) == set(FIRES)
    assert set(QUIET) <= set(RULE)


@pytest.mark.parametrize(("name", "case"), cases(FIRES))
def test_alert_fires(name: str, case: Case) -> None:
    """For the cluster that has the trouble, and not for the one beside it that is well."""
    well = [entry for healthy in HEALTHY for entry in healthy().entries]
    beside = [entry._replace(labels={**entry.labels, "cluster": "other"}) for entry in well]
    found = evaluated(RULE[name]["expr"], case().entries + beside, NOW)

    assert {labels["cluster"] for labels, _ in found} == {"prod"}


@pytest.mark.parametrize(("name", "case"), cases(QUIET))
def test_alert_stays_quiet(name: str, case: Case) -> None:
    """Just below the threshold, for other statuses, and where the server lacks the columns."""
    assert evaluated(RULE[name]["expr"], case().entries, NOW) == []


@pytest.mark.parametrize("name", RULE)
@pytest.mark.parametrize("number", range(len(HEALTHY)))
def test_healthy_cluster_is_quiet(name: str, number: int) -> None:
    """Whatever of it is looked at."""
    assert evaluated(RULE[name]["expr"], HEALTHY[number]().entries, NOW) == []


def test_nothing_at_all_is_silence() -> None:
    """Also where Loki has never had a line, so that no cluster can be named."""
    assert evaluated(RULE["SqmonSilent"]["expr"], [], NOW) == [({"job": "sqmon", "metric": "sqmon"}, 1.0)]


@pytest.mark.parametrize("name", RULE)
def test_alert_says_what_to_do(name: str) -> None:
    """With labels that its expression has, a severity that somebody can route by, and a panel that exists."""
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
    assert notes["panel"] in panels[notes["dashboard"]]
    assert notes["summary"].startswith("{{ $labels.cluster }}: ")


def test_thresholds_are_in_one_place() -> None:
    """Each number that an expression compares with is in thresholds.py, but for `more than none`."""
    known = {
        float(number)
        for value in vars(thresholds).values()
        for number in (value if isinstance(value, tuple) else (value,))
        if isinstance(number, (int, float))
    }
    compared = {float(number) for rule in RULE.values() for number in re.findall(r" [<>]=? -?([\d.]+)", rule["expr"])}

    assert compared - {0.0} <= known
