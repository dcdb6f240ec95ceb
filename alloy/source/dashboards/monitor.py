"""The dashboard of sqmon itself: whether it polls, how late, what is missing, and what had to be restarted."""

from __future__ import annotations

from alloy.source.dashboards.panels import Section, above, board, course, lines, listing, number, series
from alloy.source.logql import SITE, count, events, extreme, rows
from sqmon.config import thresholds

_POLL = '| event="poll" | status!="skipped"'
_GOOD = '| event="poll" | status=~"ok|empty"'
_BAD = '| event="poll" | status=~"error|timeout"'


def _ratio(over: str) -> str:
    fields = ("event", "target", "status")
    good = count(events(*fields, where=_GOOD, site=SITE), "target", over=over)
    return f"{good} / {count(events(*fields, where=_POLL, site=SITE), 'target', over=over)}"


def _happened(event: str, *labels: str, over: str = "$__range") -> str:
    return count(events("event", *labels, where=f'| event="{event}"', site=SITE), *labels, over=over)


def monitor() -> str:
    """Return the dashboard."""
    polls = events("event", "target", "status", where=_POLL, site=SITE)
    failed = events("event", "target", "status", "error", where=_BAD, site=SITE)
    took = events("event", "target", "status", "duration_ms", where=_POLL, site=SITE)
    late = events("event", "target", "status", "late_ms", where=_POLL, site=SITE)
    skipped = events("event", "target", "status", "skipped", where='| event="poll" | status="skipped"', site=SITE)
    own = rows("show_server_status", "is_self", "status_age_s", where='| is_self="true"', site=SITE)
    ends = events("event", "target", "reason", level="error", where='| event="worker_exit"', site=SITE)
    # As a sentence; what an event says of its reason is in one of these fields.
    said = "{{.event}} {{ or .target .check .file }}: {{ or .reason .error .text .problems .status }}"
    told = events("event", "target", "check", "file", "reason", "error", "text", "problems", "status", level="warning|error", site=SITE)
    trouble = f"{told} | line_format `{said}`"
    started = ("version", "host", "port", "service")
    lines_of = f'{{job="sqmon"{SITE}}}'
    return board(
        "monitor",
        "sqmon itself",
        "Whether it polls, how late, what is missing, and what had to be restarted.",
        [
            Section(
                "Polls",
                [
                    course(
                        "Polls per minute",
                        "Good and bad polls of each metric. No line at all means that sqmon, the agent or the way to Loki is down.",
                        f"sum by (cluster, instance, target) (rate({polls} [$__auto])) * 60",
                        legend=series("target"),
                    ),
                    course(
                        "Share of good polls",
                        "Per metric.",
                        _ratio("$__auto"),
                        legend=series("target"),
                        unit="percentunit",
                    ),
                    course(
                        "Failed polls",
                        "Errors and timeouts in each interval.",
                        count(failed, "target", "status", over="$__auto"),
                        legend=series("target", "status"),
                        thresholds=above(thresholds.FAILURES),
                    ),
                    course(
                        "Duration of polls",
                        "The longest poll of each interval.",
                        extreme("max", took, "duration_ms", "target", over="$__auto"),
                        legend=series("target"),
                        unit="ms",
                    ),
                    course(
                        "Lateness of polls",
                        "How long after its time a poll began; the latest of each interval.",
                        extreme("max", late, "late_ms", "target", over="$__auto"),
                        legend=series("target"),
                        unit="ms",
                        thresholds=above(thresholds.LATE_MS),
                    ),
                    course(
                        "Skipped ticks",
                        "Times at which the previous poll was still running.",
                        f'sum by (cluster, instance, target) (sum_over_time({skipped} | unwrap skipped | __error__="" [$__auto]))',
                        legend=series("target"),
                    ),
                ],
            ),
            Section(
                "What is missing",
                [
                    number("Gaps", "In the chosen time range.", _happened("gap"), thresholds=above(1)),
                    number(
                        "Restarts",
                        "Of workers that ended on their own, in the chosen time range.",
                        count(ends, over="$__range"),
                    ),
                    number("Starts of the service", "In the chosen time range.", _happened("start")),
                    number(
                        "Age of the poll's own statement",
                        "Far from zero when the clocks differ or --server_timezone is wrong; all ages are then wrong by as much.",
                        extreme("max", own, "status_age_s"),
                        unit="s",
                        thresholds=above(thresholds.CLOCK_SECONDS),
                    ),
                    listing(
                        "Gap by metric",
                        "How many gaps each metric had, and why.",
                        _happened("gap", "target", "reason"),
                        "gaps",
                        ("target", "reason"),
                        span=12,
                    ),
                    listing(
                        "Ended workers",
                        "Workers that had to be restarted, and why they ended.",
                        count(ends, "target", "reason", over="$__range"),
                        "times",
                        ("target", "reason"),
                        span=12,
                    ),
                    lines(
                        "Warnings and errors",
                        "Every event of level warning or error.",
                        trouble,
                    ),
                ],
            ),
            Section(
                "Lines",
                [
                    course(
                        "Lines per second",
                        "Of each metric.",
                        f"sum by (cluster, instance, metric) (rate({lines_of} [$__auto]))",
                        legend=series("metric"),
                    ),
                    course(
                        "Bytes per second",
                        "Of each metric: what Loki has to store.",
                        f"sum by (cluster, instance, metric) (bytes_rate({lines_of} [$__auto]))",
                        legend=series("metric"),
                        unit="Bps",
                    ),
                    listing(
                        "Versions and starts",
                        "What was started in the chosen time range.",
                        _happened("start", *started),
                        "starts",
                        started,
                    ),
                ],
            ),
        ],
    )
