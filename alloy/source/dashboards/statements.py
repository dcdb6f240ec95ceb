"""Statements and queues: what runs, what waits, and what is stuck."""

from __future__ import annotations

from alloy.source import thresholds
from alloy.source.dashboards.panels import Section, above, board, course, lines, listing, number, series
from alloy.source.logql import SITE, extreme, largest, per_poll, rows

_STATUS = "show_server_status"
_WHO = ("statementid", "user_name", "service", "clientip")
_WHERE = (*_WHO, "instanceid")
_STATE = (*_WHO, "statementstatus")


def _statements(where: str, age: str, *labels: str) -> str:
    columns = dict.fromkeys((*labels, "statementstatus", "is_self", age))
    query = rows(_STATUS, *columns, where=f'| is_self!="true" {where}', site=SITE)
    return largest(50, query, age, *labels)


def _mean(where: str, *labels: str, over: str = "2m") -> str:
    columns = dict.fromkeys((*labels, "statementstatus", "is_self"))
    query = rows(_STATUS, *columns, where=f'| is_self!="true" {where}'.strip(), site=SITE)
    return per_poll(query, _STATUS, *labels, over=over, site=SITE)


def statements() -> str:
    """Return the dashboard."""
    executing, queued = '| statementstatus=~"(?i)execut.*"', '| statementstatus=~"(?i)in queue"'
    stuck = '| statementstatus=~"(?i)preparing|stopping"'
    longest = rows(_STATUS, "statementstatus", "is_self", "statement_age_s", where=f'| is_self!="true" {executing}', site=SITE)
    return board(
        "statements",
        "SQreamDB: statements and queues",
        "What runs, what waits, and what is stuck; the polls of sqmon are left out.",
        [
            Section(
                "Now",
                [
                    number("Running", "Mean of the polls within two minutes.", _mean(executing), decimals=1),
                    number(
                        "Waiting",
                        "Mean of the polls within two minutes.",
                        _mean(queued),
                        decimals=1,
                        thresholds=above(thresholds.QUEUE_DEPTH),
                    ),
                    number(
                        "Longest running",
                        "Within two minutes.",
                        extreme("max", longest, "statement_age_s"),
                        unit="s",
                        thresholds=above(thresholds.EXECUTING_SECONDS),
                    ),
                    number(
                        "Users",
                        "With a statement in any status.",
                        f"count by (cluster, instance) (sum by (cluster, instance, user_name) ({_mean('', 'user_name')}))",
                    ),
                ],
            ),
            Section(
                "Which",
                [
                    listing(
                        "Longest statements",
                        "The fifty that have run longest.",
                        _statements(executing, "statement_age_s", *_WHERE),
                        "running",
                        _WHERE,
                        unit="s",
                        thresholds=above(thresholds.EXECUTING_SECONDS),
                    ),
                    listing(
                        "Waiting statements",
                        "The fifty that have waited longest.",
                        _statements(queued, "status_age_s", *_WHO),
                        "waiting",
                        _WHO,
                        unit="s",
                        thresholds=above(thresholds.QUEUED_SECONDS),
                        span=12,
                    ),
                    listing(
                        "Statements that prepare or stop",
                        "Neither takes minutes unless it waits for a lock or can't be stopped.",
                        _statements(stuck, "status_age_s", *_STATE),
                        "since",
                        _STATE,
                        unit="s",
                        thresholds=above(thresholds.STUCK_SECONDS),
                        span=12,
                    ),
                ],
            ),
            Section(
                "Over time",
                [
                    course(
                        "Statements by status",
                        "Mean of the polls in each point.",
                        _mean("", "statementstatus", over="$__auto"),
                        legend=series("statementstatus"),
                        stacked=True,
                    ),
                    course(
                        "Queue per service",
                        "Waiting statements, as the mean of the polls in each point.",
                        _mean(queued, "service", over="$__auto"),
                        legend=series("service"),
                        thresholds=above(thresholds.QUEUE_DEPTH),
                    ),
                    course(
                        "Statements per user",
                        "In any status, as the mean of the polls in each point.",
                        _mean("", "user_name", over="$__auto"),
                        legend=series("user_name"),
                        stacked=True,
                    ),
                    course(
                        "Running statements per database",
                        "Mean of the polls in each point.",
                        _mean(executing, "database_name", over="$__auto"),
                        legend=series("database_name"),
                        stacked=True,
                    ),
                    lines(
                        "Lines",
                        "The records, with the text of the statements.",
                        rows(_STATUS, "is_self", where='| is_self!="true"', site=SITE),
                    ),
                ],
            ),
        ],
    )
