"""The alerts about SQreamDB: locks, statements, workers, metadata."""

from __future__ import annotations

from alloy.source.alerts.alert import Alert
from alloy.source.logql import count, events, extreme, largest, per_poll, rows
from sqmon.config import thresholds

_LOCK = ("statement_id", "username", "locked_object", "lock_mode")
_STATEMENT = ("statementid", "user_name", "service")
_HELD = "Held for {{ $value | humanizeDuration }} by statement {{ $labels.statement_id }} of {{ $labels.username }}. "
_WHO = "Statement {{ $labels.statementid }} of {{ $labels.user_name }} in service {{ $labels.service }}: "
_NAMED = 20  # alerts of one rule for one cluster: a longer list would tell nobody more


def _largest(query: str, value: str, *labels: str) -> str:
    return largest(_NAMED, query, value, *labels, per_place=True)


def _lock(name: str, where: str, seconds: float, *, summary: str, consequence: str, panel: str) -> Alert:
    """Return the alert for a lock that is held for too long."""
    query = rows("show_locks", *_LOCK, "is_statement_active", "lock_age_s", where=where)
    return Alert(
        name,
        "warning",
        f"{_largest(query, 'lock_age_s', *_LOCK)} > {seconds:g}",
        summary,
        _HELD + consequence,
        dashboard="locks",
        panel=panel,
    )


def _statement(name: str, severity: str, status: str, age: str, seconds: float, *, summary: str, doing: str, panel: str) -> Alert:
    """Return the alert for a statement that is in a status for too long; the poll's own statement is never meant."""
    where = f'| statementstatus=~"(?i){status}" | is_self!="true"'
    query = rows("show_server_status", *_STATEMENT, "statementstatus", "is_self", age, where=where)
    return Alert(
        name,
        severity,
        f"{_largest(query, age, *_STATEMENT)} > {seconds:g}",
        summary,
        _WHO + doing,
        dashboard="statements",
        panel=panel,
    )


def _queue() -> str:
    waiting = rows("show_server_status", "service", "statementstatus", where='| statementstatus=~"(?i)in queue"')
    return f"{per_poll(waiting, 'show_server_status', 'service', over='5m')} > {thresholds.QUEUE_DEPTH:g}"


def _node_down() -> str:
    """Return which workers are gone, as long as polls go on: a monitor that is blind knows of no dead worker."""
    nodes = rows("show_cluster_nodes", "instance_id")
    where = '| event="poll" | target="show_cluster_nodes" | status=~"ok|empty"'
    polled = count(events("event", "target", "status", where=where))
    return f"({count(nodes, 'instance_id', over='1h')} unless {count(nodes, 'instance_id')}) and on (cluster, instance) {polled}"


def _clock() -> str:
    own = rows("show_server_status", "is_self", "status_age_s", where='| is_self="true"')
    oldest, youngest = extreme("max", own, "status_age_s"), extreme("min", own, "status_age_s")
    return f"{oldest} > {thresholds.CLOCK_SECONDS:g} or {youngest} < -{thresholds.CLOCK_SECONDS:g}"


_LATENCY = extreme("max", rows("get_leveldb_stats", "msg", "max"), "max", "msg", over="5m")
_HEARTBEAT = extreme("max", rows("show_cluster_nodes", "instance_id", "last_heartbeat"), "last_heartbeat", "instance_id")

ALERTS = (
    _lock(
        "SqreamOrphanedLock",
        '| is_statement_active="0"',
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
        "status_age_s",
        thresholds.QUEUED_SECONDS,
        summary="a statement waits for its turn",
        doing="in the queue for {{ $value | humanizeDuration }}.",
        panel="Waiting statements",
    ),
    _statement(
        "SqreamStatementStuck",
        "warning",
        "preparing|stopping",
        "status_age_s",
        thresholds.STUCK_SECONDS,
        summary="a statement is stuck",
        doing="preparing or stopping for {{ $value | humanizeDuration }}; it may wait for a lock.",
        panel="Statements that prepare or stop",
    ),
    _statement(
        "SqreamStatementLong",
        "warning",
        "execut.*",
        "statement_age_s",
        thresholds.EXECUTING_SECONDS.warning,
        summary="a statement runs long",
        doing="running for {{ $value | humanizeDuration }}.",
        panel="Longest statements",
    ),
    _statement(
        "SqreamStatementEndless",
        "critical",
        "execut.*",
        "statement_age_s",
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
        description="show_cluster_nodes listed it within the last hour and no longer does. Start it again; if it was removed on purpose, "
        "this alert ends within the hour.",
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
