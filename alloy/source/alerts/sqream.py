"""The alerts about SQreamDB: locks, statements, workers, metadata."""

from __future__ import annotations

from alloy.source.alerts.alert import Alert
from alloy.source.logql import count, extreme, largest, lifetimes, newest, per_poll, rows, while_polled
from sqmon.config import thresholds

_LOCK = ("statement_id", "username", "locked_object", "lock_mode")
_STATEMENT = ("statement_id", "username", "service")
_HELD = "Held for {{ $value | humanizeDuration }} or longer by statement {{ $labels.statement_id }} of {{ $labels.username }}. "
_WHO = "Statement {{ $labels.statement_id }} of {{ $labels.username }} in service {{ $labels.service }}: "
_NAMED = 20  # alerts of one rule for one cluster: a longer list would tell nobody more
_NODES = 400  # of one cluster: those that are up come first
_FORGOTTEN = "1h"  # after which a worker that was removed on purpose raises no alert any more
_GOING_ON = "25h"  # what lasts is told once a day at least


def _lasting(query: str, labels: tuple[str, ...], seconds: float, metric: str) -> str:
    """Return what has lasted so long by its newest line: that of its end says 0."""
    return while_polled(f"{newest(_NAMED, query, 'milestone_s', *labels, over=_GOING_ON)} >= {seconds:g}", metric)


def _lock(name: str, where: str, seconds: float, *, summary: str, consequence: str, panel: str) -> Alert:
    """Return the alert for a lock that is held for too long."""
    query = lifetimes(*_LOCK, "orphaned", "milestone_s", where=f'| event=~"lock_.*" {where}'.strip(), level="warning")
    expr = _lasting(query, _LOCK, seconds, "show_locks")
    return Alert(name, "warning", expr, summary, _HELD + consequence, dashboard="locks", panel=panel)


def _statement(name: str, severity: str, status: str, seconds: float, *, summary: str, doing: str, panel: str) -> Alert:
    """Return the alert for a statement that is in a status for too long."""
    # A line that tells of the next status ends the one before.
    where = f'| event=~"statement_(seen|status|ended)" | status=~"(?i){status}" or status_before=~"(?i){status}"'
    query = lifetimes(*_STATEMENT, "status", "status_before", "milestone_s", where=where, level="warning")
    expr = _lasting(query, _STATEMENT, seconds, "show_server_status")
    return Alert(name, severity, expr, summary, _WHO + doing, dashboard="statements", panel=panel)


def _blocked() -> str:
    waits = lifetimes(where='| event="statement_blocked"', level="warning")
    return f"{count(waits, over='5m')} >= {thresholds.BLOCKED_STATEMENTS:g}"


def _queue() -> str:
    waiting = rows("show_server_status", "service", "statementstatus", where='| statementstatus=~"(?i)in queue"')
    return f"{per_poll(waiting, 'show_server_status', 'service', over='5m')} > {thresholds.QUEUE_DEPTH:g}"


def _node_down() -> str:
    """Return which workers are gone."""
    nodes = lifetimes("instance_id", "server", "port", "is_up", where='| event=~"node_.*"')
    return while_polled(f"{newest(_NODES, nodes, 'is_up', 'instance_id', 'server', 'port', over=_FORGOTTEN)} == 0", "show_cluster_nodes")


def _clock() -> str:
    own = rows("show_server_status", "is_self", "status_age_s", where='| is_self="true"')
    oldest, youngest = extreme("max", own, "status_age_s"), extreme("min", own, "status_age_s")
    return f"{oldest} > {thresholds.CLOCK_SECONDS:g} or {youngest} < -{thresholds.CLOCK_SECONDS:g}"


def _largest(metric: str, value: str, label: str, over: str) -> str:
    return largest(_NAMED, rows(metric, label, value), value, label, over=over, per_place=True)


_LATENCY = _largest("get_leveldb_stats", "max", "msg", "5m")
_HEARTBEAT = _largest("show_cluster_nodes", "last_heartbeat", "instance_id", "2m")

ALERTS = (
    _lock(
        "SqreamOrphanedLock",
        '| orphaned="true"',
        thresholds.ORPHANED_LOCK_SECONDS,
        summary="orphaned lock on {{ $labels.locked_object }}",
        consequence="That statement is no longer active, so it won't release the lock.",
        panel="Orphaned locks",
    ),
    _lock(
        "SqreamLastingLock",
        "",
        thresholds.LOCK_SECONDS,
        summary="lock on {{ $labels.locked_object }} lasts",
        consequence="Others that need the object wait as long.",
        panel="Who holds what, for how long",
    ),
    Alert(
        name="SqreamStatementsBlocked",
        severity="warning",
        expr=_blocked(),
        summary="statements wait for each other's locks",
        description="{{ $value }} statements had to wait for a lock within five minutes; each gives up after statementLockTimeout.",
        dashboard="locks",
        panel="Who waited for whom",
    ),
    Alert(
        name="SqreamQueueDeep",
        severity="warning",
        expr=_queue(),
        summary="statements queue up in service {{ $labels.service }}",
        description='{{ $value | printf "%.1f" }} statements wait on average. Look for long ones before you add workers to the service.',
        dashboard="statements",
        panel="Queue per service",
        lasting="5m",
    ),
    _statement(
        "SqreamStatementQueued",
        "warning",
        "in queue",
        thresholds.QUEUED_SECONDS,
        summary="a statement waits for its turn",
        doing="in the queue for {{ $value | humanizeDuration }}.",
        panel="Waiting statements",
    ),
    _statement(
        "SqreamStatementStuck",
        "warning",
        "preparing|stopping",
        thresholds.STUCK_SECONDS,
        summary="a statement is stuck",
        doing="preparing or stopping for {{ $value | humanizeDuration }}; it may wait for a lock.",
        panel="Statements that prepare or stop",
    ),
    _statement(
        "SqreamStatementLong",
        "warning",
        "execut.*",
        thresholds.EXECUTING_SECONDS.warning,
        summary="a statement runs long",
        doing="running for {{ $value | humanizeDuration }}.",
        panel="Longest statements",
    ),
    _statement(
        "SqreamStatementEndless",
        "critical",
        "execut.*",
        thresholds.EXECUTING_SECONDS.critical,
        summary="a statement does not end",
        doing="running for {{ $value | humanizeDuration }}; SQreamDB's healer would consider it stuck.",
        panel="Longest statements",
    ),
    Alert(
        name="SqreamNodeDown",
        severity="critical",
        expr=_node_down(),
        summary="worker {{ $labels.instance_id }} is gone",
        description="Two polls of show_cluster_nodes in succession no longer list {{ $labels.server }}:{{ $labels.port }}. Start it again; "
        "if it was removed on purpose, this alert ends within the hour.",
        dashboard="overview",
        panel="Workers",
    ),
    Alert(
        name="SqreamHeartbeatOld",
        severity="warning",
        expr=f"{_HEARTBEAT} > {thresholds.HEARTBEAT_SECONDS:g}",
        summary="worker {{ $labels.instance_id }} does not answer",
        description="Its last heartbeat is {{ $value | humanizeDuration }} old.",
        dashboard="overview",
        panel="Workers",
        lasting="1m",
    ),
    Alert(
        name="SqreamMetadataSlow",
        severity="warning",
        expr=f"{_LATENCY} > {thresholds.METADATA_MS:g}",
        summary="the metadata server was slow to answer {{ $labels.msg }}",
        description="{{ $value }} ms at worst. The number stays until reset_leveldb_stats() is called, which sqmon can do daily.",
        dashboard="metadata",
        panel="Worst answer per message",
    ),
    Alert(
        name="SqreamClockDiffers",
        severity="warning",
        expr=_clock(),
        summary="the clocks of SQreamDB and sqmon differ",
        description="The poll's own statement seems {{ $value }} s old, so every age is off by that. Set --server_timezone or the clocks.",
        dashboard="monitor",
        panel="Age of the poll's own statement",
        lasting="5m",
    ),
)
