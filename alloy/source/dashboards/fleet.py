"""The dashboard of all clusters: one line for each, the worst on top."""

from __future__ import annotations

from typing import Any, NamedTuple, Union

from alloy.source.dashboards.comparison import Column, comparison
from alloy.source.dashboards.panels import Section, above, below, board
from alloy.source.logql import GAPS, NOW, PLACE, SITE, count, events, extreme, lifetimes, newest, per_poll, rows, while_polled
from sqmon.config import thresholds
from sqmon.config.thresholds import Levels

_STATUS, _NODES, _LICENCE = "show_server_status", "show_cluster_nodes", "get_license_info"
_GOOD = '| event="poll" | status=~"ok|empty"'
_SILENT = f"{thresholds.SILENT_SECONDS // thresholds.MINUTE:g}m"
_NODES_OF_A_CLUSTER = 400  # those that came or went within the hour
_FIRST = "troubles"


class _Question(NamedTuple):
    """A column, and the comparison that makes its number a trouble: the one that colours it."""

    column: Column
    wrong: str = ""


def _at_most(title: str, expr: str, limit: Union[float, Levels], **look: Any) -> _Question:
    worst = limit.warning if isinstance(limit, Levels) else limit
    return _Question(Column(title, expr, thresholds=above(limit), **look), f">= {worst:g}")


def _at_least(title: str, expr: str, limit: Levels) -> _Question:
    return _Question(Column(title, expr, thresholds=below(limit)), f"< {limit.warning:g}")


def _by_place(kind: str, expr: str) -> str:
    return f"{kind} by ({', '.join(PLACE)}) ({expr})"


def _last_good_poll() -> str:
    """Return how many seconds before the end of the chosen range the last good poll was told."""
    polls = events("event", "target", "status", where=f"{_GOOD} | label_format at=`{{{{ __timestamp__ | unixEpoch }}}}`", site=SITE)
    return f"({extreme('max', polls, 'at', over='$__range')} - ${{__to:date:seconds}}) * -1"


def _nodes_up() -> str:
    """Return how many rows the last good poll had: a dead node is not listed."""
    polls = events("event", "target", "status", "rows", where=f'{_GOOD} | target="{_NODES}"', site=SITE)
    return f'last_over_time({polls} | unwrap rows | __error__="" [{NOW}]) by ({", ".join(PLACE)})'


def _nodes_down() -> str:
    """Return how many nodes `SqreamNodeDown` names."""
    nodes = lifetimes("instance_id", "server", "port", "is_up", where='| event=~"node_.*"', site=SITE)
    known = newest(_NODES_OF_A_CLUSTER, nodes, "is_up", "instance_id", "server", "port", over="1h")
    return while_polled(_by_place("count", f"{known} == 0"), _NODES, site=SITE)


def _statements(status: str) -> str:
    where = f'| is_self!="true" | statementstatus=~"(?i){status}"'
    return per_poll(rows(_STATUS, "statementstatus", "is_self", where=where, site=SITE), _STATUS, site=SITE)


def _licence(kind: str, column: str) -> str:
    return extreme(kind, rows(_LICENCE, column, site=SITE), column, over="15m")


def _failing() -> str:
    """Return how many metrics `SqmonMetricFailing` names."""
    where = '| event=~"poll|worker_exit" | status!="skipped"'
    failed = events("event", "target", "status", level="warning|error", where=where, site=SITE)
    return _by_place("count", f"{count(failed, 'target', over='5m')} >= {thresholds.FAILURES:g}")


def _in_range(*fields: str, level: str, where: str) -> str:
    return count(events("event", *fields, level=level, where=where, site=SITE), over="$__range")


def _questions() -> list[_Question]:
    locks = rows("show_locks", "lock_age_s", site=SITE)
    blocked = count(lifetimes(where='| event="statement_blocked"', level="warning", site=SITE), over="5m")
    gaps = _in_range("reason", "lasted_s", level="warning|error", where=GAPS)
    unread = _in_range(level="warning", where='| event="segment_deleted"')
    used, days = _licence("max", "size_used_ratio"), _licence("min", "days_to_expiration")
    return [
        _Question(Column("nodes up", _nodes_up())),
        _at_most("nodes down", _nodes_down(), 1),
        _Question(Column("running", _statements("execut.*"), decimals=1)),
        _at_most("queued", _statements("in queue"), thresholds.QUEUE_DEPTH, decimals=1),
        _at_most("oldest lock", extreme("max", locks, "lock_age_s"), thresholds.LOCK_SECONDS, unit="s"),
        _at_most("blocked", blocked, thresholds.BLOCKED_STATEMENTS),
        _at_most("licence used", used, thresholds.LICENCE_USED, unit="percentunit", decimals=1),
        _at_least("licence days", days, thresholds.LICENCE_DAYS),
        _at_most("last good poll", _last_good_poll(), thresholds.SILENT_SECONDS, unit="s"),
        _at_most("gaps", gaps, 1),
        _at_most("failing metrics", _failing(), 1),
        _at_most("deleted unread", unread, 1),
    ]


def _troubles(questions: list[_Question]) -> str:
    """Return how many columns of a cluster are as bad as an alert allows, 0 for one that is polled and well."""
    # Each gets a label of its own, since `or` drops a line whose labels are there already.
    wrong = " or ".join(
        f'label_replace({question.column.expr} {question.wrong}, "trouble", "{question.column.title}", "cluster", ".*")'
        for question in questions
        if question.wrong
    )
    polled = count(events("event", "status", where=_GOOD, site=SITE), over=_SILENT)
    return f"{_by_place('count', wrong)} or {polled} * 0"


def fleet() -> str:
    """Return the dashboard."""
    questions = _questions()
    first = Column(_FIRST, _troubles(questions), thresholds=above(1))
    return board(
        "fleet",
        "SQreamDB: fleet",
        "All clusters, one line for each: nodes, statements, locks, licence, and whether sqmon sees them.",
        [
            Section(
                "Clusters",
                [
                    comparison(
                        "Worst first",
                        "Troubles is the number of columns that are not green. Running and queued are means of the polls "
                        "within two minutes, blocked counts the waits for locks of five minutes; last good poll, gaps and deleted unread "
                        "(segments that no agent is known to have read) look at the chosen range. A cluster leads to its other dashboards.",
                        [first, *(question.column for question in questions)],
                        boards=("overview", "statements", "locks", "metadata", "monitor"),
                        height=20,
                    )
                ],
            )
        ],
        refresh="30s",
    )
