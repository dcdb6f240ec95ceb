"""The alerts about sqmon itself: silence, failures, gaps, refusals."""

from __future__ import annotations

from alloy.source.alerts.alert import Alert
from alloy.source.logql import GAPS, count, events
from sqmon.config import thresholds


def _happened(event: str, *labels: str, over: str, level: str = "") -> str:
    query = events("event", *labels, where=f'| event="{event}"', level=level)
    return f"{count(query, *labels, over=over)} > 0"


def _alert(name: str, severity: str, expr: str, *, summary: str, description: str, panel: str = "Warnings and errors") -> Alert:
    return Alert(name, severity, expr, summary, description, dashboard="monitor", panel=panel)


_QUIET = f"{thresholds.SILENT_SECONDS // thresholds.MINUTE:g}m"
_SILENT = f"({count(events(), over='6h')} unless {count(events(), over=_QUIET)}) or absent_over_time({events()} [{_QUIET}])"
_FAILED = events("event", "target", "status", level="warning|error", where='| event=~"poll|worker_exit" | status!="skipped"')
# One alert for each reason, since what one metric misses all of them do.
_GAP = events("event", "reason", "lasted_s", level="warning|error", where=GAPS)

ALERTS = (
    _alert(
        "SqmonSilent",
        "critical",
        _SILENT,
        summary="nothing comes from sqmon",
        description="No line of {{ $labels.instance }} for five minutes, though sqmon writes one for each poll: sqmon, the agent or the "
        "way to Loki is down.",
        panel="Polls per minute",
    ),
    _alert(
        "SqmonMetricFailing",
        "warning",
        f"{count(_FAILED, 'target', over='5m')} >= {thresholds.FAILURES:g}",
        summary="{{ $labels.target }} can't be polled",
        description="{{ $value }} polls or workers failed within five minutes; the events say why.",
        panel="Failed polls",
    ),
    _alert(
        "SqmonGap",
        "warning",
        f"{count(_GAP, 'reason', over='10m')} > 0",
        summary="lines are missing",
        description="{{ $value }} gaps: polls were missed, or records did not fit on the disk. The reason: {{ $labels.reason }}. "
        "`sqmon history gaps` names the metrics and the times.",
    ),
    _alert(
        "SqmonArchiveFailed",
        "warning",
        _happened("archive_failed", "reason", over="1h", level="warning"),
        summary="segments can't be compressed",
        description="Until that is put right they take fifty times the room, and retention deletes them sooner: {{ $labels.reason }}.",
    ),
    _alert(
        "SqmonDeletedUnread",
        "warning",
        _happened("segment_deleted", "target", "reason", over="10m", level="warning"),
        summary="segments of {{ $labels.target }} were deleted that may never have been read",
        description="Retention by {{ $labels.reason }} had nothing else to delete. Look after the agent and Loki, or raise the limits.",
    ),
    _alert(
        "SqmonDiskRefusesLines",
        "warning",
        _happened("backlog", "target", "reason", over="5m", level="error"),
        summary="lines of {{ $labels.target }} wait in memory",
        description="The disk refuses them: {{ $labels.reason }}.",
    ),
    _alert(
        "SqmonDiskInTrouble",
        "warning",
        _happened("disk_warning", "target", "reason", over="5m", level="warning"),
        summary="the disk of {{ $labels.target }} is in trouble",
        description="No line waits, but lines may not survive a power loss, or polls are late: {{ $labels.reason }}.",
    ),
    _alert(
        "SqmonNotProved",
        "warning",
        _happened("proof", "reason", over="2h", level="warning"),
        summary="lines of sqmon are not proved to be in Loki",
        description="sqmon verify --watch says: {{ $labels.reason }}. sqmon verify --loki_url shows which lines, and where they were lost.",
    ),
    _alert(
        "SqmonLoginPaused",
        "critical",
        _happened("login_paused", "reason", over="15m"),
        summary="SQreamDB refused sqmon's login",
        description="No login is tried for 15 minutes or until the password changes, since five refusals lock the role: "
        "{{ $labels.reason }}.",
    ),
    _alert(
        "SqmonConfigRejected",
        "warning",
        _happened("config_rejected", "problems", over="15m"),
        summary="sqmon's metrics file was refused",
        description="The previous metrics stay in force: {{ $labels.problems }}.",
    ),
)
