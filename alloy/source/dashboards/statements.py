"""The dashboard of statements and queues: what runs, what waits, and what is stuck."""

from __future__ import annotations

from alloy.source.dashboards.panels import Panel, Section, above, board, course, lines, listing, mean, number, series
from alloy.source.logql import SITE, extreme, largest, lifetimes, newest, per_poll, rows
from sqmon.config import thresholds

_STATUS = "show_server_status"
_WHO = ("statementid", "user_name", "service", "clientip")
_WHERE = (*_WHO, "instanceid", "statement")
_LIVED = ("statement_id", "username", "service", "statement_hash", "statement")
_STATE = (*_WHO, "statementstatus")


def _statements(where: str, age: str, *labels: str) -> str:
    columns = dict.fromkeys((*labels, "statementstatus", "is_self", age))
    query = rows(_STATUS, *columns, where=f'| is_self!="true" {where}', site=SITE)
    return largest(50, query, age, *labels)


def _history() -> str:
    """Return how long each statement lasted within the chosen range, for the chosen user, service and statement."""
    where = (
        '| event=~"statement_(seen|status|ended)" | username=~"(?i).*$user.*" | service=~"(?i).*$service.*" | statement_id=~"$statement.*"'
    )
    query = lifetimes(*_LIVED, "held_min_s", where=where, site=SITE)
    return newest(100, query, "held_min_s", *_LIVED, over="$__range", per_place=False)


def _mean(where: str, *labels: str, over: str = "2m") -> str:
    columns = dict.fromkeys((*labels, "statementstatus", "is_self"))
    query = rows(_STATUS, *columns, where=f'| is_self!="true" {where}'.strip(), site=SITE)
    return per_poll(query, _STATUS, *labels, over=over, site=SITE)


def _stack(title: str, which: str, where: str, label: str) -> Panel:
    """Return how many statements there were over time, one layer for each value of a label."""
    expr = _mean(where, label, over="$__auto")
    return course(title, f"{which}, as the mean of the polls in each interval.", expr, legend=series(label), stacked=True)


def statements() -> str:
    """Return the dashboard."""
    executing, queued = '| statementstatus=~"(?i)execut.*"', '| statementstatus=~"(?i)in queue"'
    stuck = '| statementstatus=~"(?i)preparing|stopping"'
    longest = rows(_STATUS, "statementstatus", "is_self", "statement_age_s", where=f'| is_self!="true" {executing}', site=SITE)
    return board(
        "statements",
        "SQreamDB: statements and queues",
        "What runs, what waits, and what is stuck, without the polls of sqmon.",
        [
            Section(
                "Now",
                [
                    mean("Running", _mean(executing)),
                    mean("Waiting", _mean(queued), thresholds=above(thresholds.QUEUE_DEPTH)),
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
                "In the chosen range",
                [
                    listing(
                        "Which statements there were",
                        "The hundred that lasted longest: the least time that each lasted. Follow its number to its locks.",
                        _history(),
                        "lasted at least",
                        _LIVED,
                        unit="s",
                        thresholds=above(thresholds.EXECUTING_SECONDS),
                        links={"statement_id": "locks"},
                    ),
                ],
            ),
            Section(
                "Over time",
                [
                    _stack("Statements by status", "In any status", "", "statementstatus"),
                    course(
                        "Queue per service",
                        "Waiting statements, as the mean of the polls in each interval.",
                        _mean(queued, "service", over="$__auto"),
                        legend=series("service"),
                        thresholds=above(thresholds.QUEUE_DEPTH),
                    ),
                    _stack("Statements per user", "In any status", "", "user_name"),
                    _stack("Running statements per database", "Running", executing, "database_name"),
                    lines(
                        "Lines",
                        "The records, with the text of the statements.",
                        rows(_STATUS, "is_self", where='| is_self!="true"', site=SITE),
                    ),
                ],
            ),
        ],
        texts=("user", "service", "statement"),
    )
