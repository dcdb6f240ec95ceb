"""The dashboard of a cluster, in the order in which to look for the cause when everything is slow."""

from __future__ import annotations

from alloy.source.dashboards import licence
from alloy.source.dashboards.panels import Section, above, board, course, listing, mean, number, series
from alloy.source.logql import NOW, SITE, extreme, largest, per_poll, rows
from sqmon.config import thresholds

_STATUS = "show_server_status"
_OTHERS = '| is_self!="true"'


def overview() -> str:
    """Return the dashboard."""
    nodes = rows("show_cluster_nodes", "instance_id", "server_ip", "server_port", "connection_status", "last_heartbeat", site=SITE)
    seen = rows("show_cluster_nodes", "instance_id", site=SITE)
    workers = f"count by (cluster) (sum by (cluster, instance_id) (count_over_time({seen} [{NOW}])))"
    running = rows(_STATUS, "instanceid", "statementstatus", "is_self", where=f'{_OTHERS} | statementstatus=~"(?i)execut.*"', site=SITE)
    waiting = rows(_STATUS, "service", "statementstatus", where='| statementstatus=~"(?i)in queue"', site=SITE)
    who = ("statementid", "user_name", "statementstatus", "service", "instanceid")
    longest = largest(20, rows(_STATUS, *who, "is_self", "statement_age_s", where=_OTHERS, site=SITE), "statement_age_s", *who)
    locks = rows("show_locks", "lock_age_s", "is_statement_active", site=SITE)
    worker = ("instance_id", "server_ip", "server_port", "connection_status")
    heartbeat = extreme("max", nodes, "last_heartbeat", *worker)
    return board(
        "overview",
        "SQreamDB: cluster overview",
        "Workers, balance, long statements and queues, locks, licence: the order in which SQream looks for the cause of a slow cluster.",
        [
            Section(
                "1. Are all workers there?",
                [
                    number(
                        "Workers seen",
                        "Workers that show_cluster_nodes listed within two minutes; a dead one disappears.",
                        workers,
                        beside_course=True,
                    ),
                    number(
                        "Oldest heartbeat",
                        "Of any worker.",
                        extreme("max", nodes, "last_heartbeat"),
                        unit="s",
                        thresholds=above(thresholds.HEARTBEAT_SECONDS),
                        beside_course=True,
                    ),
                    course(
                        "Workers over time",
                        "A step down means that a worker is gone.",
                        f"count by (cluster) (sum by (cluster, instance_id) (count_over_time({seen} [$__auto])))",
                        legend="{{cluster}}",
                    ),
                    listing(
                        "Workers",
                        "Each worker with the age of its last heartbeat.",
                        heartbeat,
                        "heartbeat age",
                        worker,
                        unit="s",
                        thresholds=above(thresholds.HEARTBEAT_SECONDS),
                    ),
                ],
            ),
            Section(
                "2. Is the load balanced?",
                [
                    course(
                        "Running statements per worker",
                        "Mean of the polls in each interval, without the polls' own statements.",
                        per_poll(running, _STATUS, "instanceid", over="$__auto", site=SITE),
                        legend=series("instanceid"),
                        stacked=True,
                        span=24,
                    )
                ],
            ),
            Section(
                "3. Are there long statements, or queues?",
                [
                    listing(
                        "Longest statements",
                        "The twenty oldest in any status, within two minutes.",
                        longest,
                        "age",
                        who,
                        unit="s",
                        thresholds=above(thresholds.EXECUTING_SECONDS),
                        span=12,
                    ),
                    course(
                        "Queue per service",
                        "Waiting statements, as the mean of the polls in each interval.",
                        per_poll(waiting, _STATUS, "service", over="$__auto", site=SITE),
                        legend=series("service"),
                        thresholds=above(thresholds.QUEUE_DEPTH),
                    ),
                ],
            ),
            Section(
                "4. Are there locks?",
                [
                    mean("Locks", per_poll(locks, "show_locks", site=SITE), beside_course=True),
                    number(
                        "Oldest lock",
                        "Within two minutes.",
                        extreme("max", locks, "lock_age_s"),
                        unit="s",
                        thresholds=above(thresholds.LOCK_SECONDS),
                        beside_course=True,
                    ),
                    course(
                        "Oldest lock over time",
                        "A line that only rises means that nobody releases the lock.",
                        extreme("max", locks, "lock_age_s", over="$__auto"),
                        legend=series(),
                        unit="s",
                        thresholds=above(thresholds.LOCK_SECONDS),
                    ),
                ],
            ),
            Section(
                "5. Is the licence in order?",
                [*licence.numbers(beside_course=True), licence.used_over_time()],
            ),
        ],
    )
