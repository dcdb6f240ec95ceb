"""The alerts about sqmon itself, for those who scrape it; an alert that Loki's rules have too has the same name and threshold there."""

from __future__ import annotations

from typing import Any

from alloy.source.alerts.alert import Alert
from alloy.source.prometheus.promql import JOB, gauge, increase
from sqmon.config import thresholds

_FAILURES = f'{JOB}, __name__=~"sqmon_polls_total|sqmon_worker_exits_total", status!~"ok|empty|skipped"'


def _alert(name: str, severity: str, expr: str, *, summary: str, description: str, panel: str, lasting: str = "0m") -> Alert:
    return Alert(name, severity, expr, summary, description, dashboard="prometheus", panel=panel, lasting=lasting)


ALERTS = (
    _alert(
        "SqmonSilent",
        "critical",
        f"{gauge('up', JOB)} == 0 or absent(up{{{JOB}}})",
        summary="nothing comes from sqmon",
        description="It could not be scraped for five minutes, or no scrape job is called sqmon: sqmon or the way to it is down.",
        panel="Can be scraped",
        lasting="5m",
    ),
    _alert(
        "SqmonMetricFailing",
        "warning",
        f"{increase('', 'target', over='5m', where=_FAILURES)} >= {thresholds.FAILURES:g}",
        summary="{{ $labels.target }} can't be polled",
        description='{{ $value | printf "%.0f" }} polls or workers failed within five minutes; the log says why.',
        panel="Failed polls",
    ),
    _alert(
        "SqmonMetricUnhealthy",
        "warning",
        f"{gauge('sqmon_healthy', JOB)} == 0",
        summary="{{ $labels.target }} has not been well for five minutes",
        description="`sqmon status` says what is wrong with it.",
        panel="Metrics that are not well",
        lasting="5m",
    ),
    _alert(
        "SqmonGap",
        "warning",
        f"{increase('sqmon_gaps_total', 'target', over='10m')} > 0",
        summary="lines of {{ $labels.target }} are missing",
        description="Polls were missed, or records did not fit on the disk; `sqmon history gaps` says when and why.",
        panel="Gaps",
    ),
    _alert(
        "SqmonDiskRefusesLines",
        "warning",
        f"{gauge('sqmon_buffer_bytes', JOB)} > 0",
        summary="lines of {{ $labels.target }} wait in memory",
        description="The disk has refused them for a minute: {{ $value | humanize1024 }}B.",
        panel="Waiting for the disk",
        lasting="1m",
    ),
    _alert(
        "SqmonNotProved",
        "warning",
        f"{gauge('sqmon_proof_ok', JOB)} == 0",
        summary="lines of sqmon are not proved to be in Loki",
        description="`sqmon status` says why; `sqmon verify --loki_url` shows which lines, and where they were lost.",
        panel="Not proved to be in Loki",
    ),
    _alert(
        "SqmonLoginPaused",
        "critical",
        f"{gauge('sqmon_logins_paused', JOB)} == 1",
        summary="SQreamDB refused sqmon's login",
        description="No login is tried for 15 minutes or until the password changes, since five refusals lock the role.",
        panel="Logins paused",
    ),
    _alert(
        "SqmonConfigRejected",
        "warning",
        f"{gauge('sqmon_config_ok', JOB)} == 0",
        summary="sqmon's metrics file was refused",
        description="The previous metrics stay in force; `sqmon check --offline` says what is wrong with the file.",
        panel="Metrics file refused",
    ),
)


def group() -> dict[str, Any]:
    """Return the group of rules."""
    return {"name": "sqmon", "interval": "1m", "rules": [alert.rule() for alert in ALERTS]}
