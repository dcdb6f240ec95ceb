"""The dashboard of sqmon as Prometheus sees it: whether it polls, how long that takes, what is missing, and what it costs its host."""

from __future__ import annotations

from alloy.source.dashboards.panels import Section, above, board, course, number, series
from alloy.source.prometheus.promql import SITE, PromQL, gauge, increase, quantile, rate, summed
from sqmon.config import thresholds

_FAILED = f'{SITE}, status=~"error|timeout"'
_ATTEMPTS = f'{SITE}, status!="skipped"'


def prometheus() -> str:
    """Return the dashboard."""
    good = rate("sqmon_polls_total", "target", where=f'{SITE}, status=~"ok|empty"')
    return board(
        "prometheus",
        "sqmon itself, by Prometheus",
        "What --metrics_port shows: whether it polls, how long that takes, what is missing, and what it costs its host.",
        [
            Section(
                "Now",
                [
                    number("Can be scraped", "1 for each sqmon that answers.", gauge("up")),
                    number(
                        "Metrics that are not well",
                        "How many fail, are late or wait for a login.",
                        summed(f"1 - {gauge('sqmon_healthy')}"),
                        thresholds=above(1),
                    ),
                    number("Logins paused", "1 after a refused login.", gauge("sqmon_logins_paused"), thresholds=above(1)),
                    number(
                        "Metrics file refused",
                        "1 while the file is not valid.",
                        PromQL(f"1 - {gauge('sqmon_config_ok')}"),
                        thresholds=above(1),
                    ),
                ],
            ),
            Section(
                "Polls",
                [
                    course(
                        "Polls per minute",
                        "Good and bad polls of each metric.",
                        PromQL(f"{rate('sqmon_polls_total', 'target', where=_ATTEMPTS)} * 60"),
                        legend=series("target"),
                    ),
                    course(
                        "Share of good polls",
                        "Per metric.",
                        PromQL(f"{good} / {rate('sqmon_polls_total', 'target', where=_ATTEMPTS)}"),
                        legend=series("target"),
                        unit="percentunit",
                    ),
                    course(
                        "Failed polls",
                        "Errors and timeouts in each interval.",
                        increase("sqmon_polls_total", "target", "status", over="$__rate_interval", where=_FAILED),
                        legend=series("target", "status"),
                        thresholds=above(thresholds.FAILURES),
                    ),
                    course(
                        "Duration of polls",
                        "99 of 100 polls take less.",
                        quantile(0.99, "sqmon_poll_seconds", "target"),
                        legend=series("target"),
                        unit="s",
                    ),
                    course(
                        "Lateness of polls",
                        "99 of 100 polls begin less long after their time.",
                        quantile(0.99, "sqmon_poll_late_seconds", "target"),
                        legend=series("target"),
                        unit="s",
                        thresholds=above(thresholds.LATE_MS / 1000),
                    ),
                    course(
                        "Age of the last good poll",
                        "Grows while a metric can't be polled.",
                        PromQL(f"time() - {gauge('sqmon_last_success_timestamp_seconds')}"),
                        legend=series("target"),
                        unit="s",
                    ),
                ],
            ),
            Section(
                "What is missing",
                [
                    course(
                        "Gaps",
                        "Times that something was missed or dropped, in each interval.",
                        increase("sqmon_gaps_total", "target", over="$__rate_interval", where=SITE),
                        legend=series("target"),
                    ),
                    course(
                        "Ended workers",
                        "Workers that ended without being asked to, in each interval.",
                        increase("sqmon_worker_exits_total", "target", "kind", over="$__rate_interval", where=SITE),
                        legend=series("target", "kind"),
                    ),
                    course(
                        "Waiting for the disk",
                        "Bytes that the disk has not accepted yet.",
                        gauge("sqmon_buffer_bytes"),
                        legend=series("target"),
                        unit="bytes",
                    ),
                    course(
                        "Dropped records",
                        "Records that found no place on the disk or in memory, in each interval.",
                        increase("sqmon_dropped_records_total", "target", over="$__rate_interval", where=SITE),
                        legend=series("target"),
                    ),
                ],
            ),
            Section(
                "Proof",
                [
                    number(
                        "Not proved to be in Loki",
                        "1 while `sqmon verify --watch` finds something wrong in Loki, or looks no more.",
                        PromQL(f"1 - {gauge('sqmon_proof_ok')}"),
                        thresholds=above(1),
                    ),
                    course(
                        "Age of the newest proof",
                        "How long ago the newest line was written up to which all are proved to be in Loki.",
                        PromQL(f"time() - {gauge('sqmon_proof_up_to_timestamp_seconds')}"),
                        legend=series(),
                        unit="s",
                    ),
                    course(
                        "Lines not proved",
                        "Lines of the files that were not seen in Loki, those on their way among them.",
                        gauge("sqmon_unproved_lines"),
                        legend=series(),
                    ),
                ],
            ),
            Section(
                "Lines and the main process",
                [
                    course("Lines per second", "Of each metric.", rate("sqmon_lines_total", "target"), legend=series("target")),
                    course("Rows per second", "That polls returned.", rate("sqmon_rows_total", "target"), legend=series("target")),
                    course(
                        "Sealed bytes per second",
                        "Steps, because a segment counts when it is sealed.",
                        rate("sqmon_sealed_bytes_total", "target"),
                        legend=series("target"),
                        unit="Bps",
                    ),
                    course(
                        "Memory",
                        "Resident memory of the main process; each worker has about as much of its own.",
                        gauge("process_resident_memory_bytes"),
                        legend=series(),
                        unit="bytes",
                    ),
                    course(
                        "Processor time",
                        "Of the main process, in seconds a second.",
                        rate("process_cpu_seconds_total"),
                        legend=series(),
                        unit="percentunit",
                    ),
                    course("Open files", "Of the main process.", gauge("process_open_fds"), legend=series()),
                ],
            ),
        ],
        kind="prometheus",
    )
