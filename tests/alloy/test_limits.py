"""Loki's limits: that no rule or panel needs more than a site's Loki allows, and that lines of an outage are seen when they come."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.alloy.test_dashboards import PANELS, Panel, filled
from tests.alloy.test_rules import RULE
from tests.records.test_computed import NEW_LOCKS
from tests.support import ROOT
from tests.support.logql import DEFAULTS, SHIPPED, TooManySeriesError, evaluated
from tests.support.logql_lines import Entry
from tests.support.sites import EVALUATED, NOW, STATUS, Age, Site, lock, own

MANY = 1247
_LINES = (
    '{job="sqmon", metric="show_locks"} | json statement_id="statement_id", username="username", locked_object="locked_object", '
    'lock_mode="lock_mode", lock_age_s="lock_age_s" | unwrap lock_age_s | __error__="" [2m]'
)
_OLD_LINES = '{job="sqmon", metric="show_locks"} | json lock_age_s="lock_age_s" | lock_age_s > 1800'
_GROUPS = "(cluster, instance, statement_id, username, locked_object, lock_mode)"
_SHIPPED_ONCE = f"max by {_GROUPS} (max_over_time({_LINES}))"


def crowded_site() -> Site:
    """Return a cluster with 1,247 locks and as many statements of each status, everything older than any threshold."""
    old = Age(90_000)
    who = ("insert into t", "etl", "10.0.0.1", 5000)
    locks = [
        (str(number), *who, f"table${number}", "Exclusive", Age(90_000, "%d-%m-%Y %H:%M:%S"), old, number % 2, 1) for number in range(MANY)
    ]
    rows = [
        ("sqream", "node_1", "10.0.0.1", "etl", number, "select 1", old, status, old)
        for status in ("Executing", "In Queue", "Preparing")
        for number in range(MANY)
    ]
    # By a poll's own statement the server's clock is known, and with it that everything is as old as it says.
    return Site().polls("show_server_status", STATUS, [own(), *rows], at=[31]).polls("show_locks", NEW_LOCKS, locks, at=[30])


@pytest.fixture(scope="module")
def crowded() -> Site:
    """The same for all tests here."""
    return crowded_site()


@pytest.mark.parametrize(
    ("query", "over_http", "in_ruler"),
    [
        (f"{_SHIPPED_ONCE} > 1800", None, None),
        (f"topk by (cluster, instance) (20, {_SHIPPED_ONCE}) > 1800", None, 20),
        (f"count by (cluster, instance) ({_SHIPPED_ONCE} > 1800)", None, 1),
        (f"topk by (cluster, instance) (20, quantile_over_time(1, {_LINES}) by {_GROUPS}) > 1800", 20, 20),
        (f"topk(20, last_over_time({_LINES}) by {_GROUPS}) > 1800", 20, 20),
        (f"max by (cluster, instance) (max_over_time({_LINES})) > 1800", 1, 1),
        (f"sum by (cluster, instance) (count_over_time({_OLD_LINES} [2m]))", 1, 1),
    ],
)
def test_interpreter_limits_series_as_loki_does(crowded: Site, query: str, over_http: int | None, in_ruler: int | None) -> None:
    """What Loki 3.4.6 and 3.7.6 answered to the same queries with as many locks: a number of series, or a refusal."""

    def series(*, ruler: bool) -> int | None:
        try:
            return len(evaluated(query, crowded.entries, EVALUATED, in_ruler=ruler))
        except TooManySeriesError:
            return None

    assert (series(ruler=False), series(ruler=True)) == (over_http, in_ruler)


CROWDED = {
    "SqreamOrphanedLock",
    "SqreamLastingLock",
    "SqreamStatementQueued",
    "SqreamStatementStuck",
    "SqreamStatementLong",
    "SqreamStatementEndless",
}


@pytest.mark.parametrize("name", RULE)
@pytest.mark.parametrize("ruler", [True, False])
def test_rule_needs_no_raised_limit(crowded: Site, name: str, ruler: bool) -> None:
    """With Loki's default of 500 series a rule for locks or statements names the twenty oldest of 1,247."""
    found = evaluated(RULE[name]["expr"], crowded.entries, EVALUATED, limits=DEFAULTS, in_ruler=ruler)

    if name in CROWDED:
        assert len(found) == 20


@pytest.mark.parametrize("panel", [panel for panel in PANELS if panel.kind != "logs"], ids=lambda panel: f"{panel.board}-{panel.title}")
def test_panel_needs_no_raised_limit(crowded: Site, panel: Panel) -> None:
    """Grafana asks over HTTP, where Loki limits each shard before anything makes the result smaller."""
    assert len(evaluated(filled(panel.query), crowded.entries, EVALUATED, limits=DEFAULTS)) <= 500


def test_last_poll_is_seen_a_moment_later() -> None:
    """The second row of a poll that starts now lies a nanosecond in the future."""
    site = Site().polls("show_locks", NEW_LOCKS, [lock(60), lock(60)], at=[0])
    query = 'sum by (cluster) (count_over_time({job="sqmon", metric="show_locks"} [2m]))'

    assert evaluated(query, site.entries, NOW) == [({"cluster": "prod"}, 1.0)]
    assert evaluated(query, site.entries, EVALUATED) == [({"cluster": "prod"}, 2.0)]


def test_shipped_loki_shows_lines_of_an_outage_when_they_come() -> None:
    """Lines that are as old as sqmon keeps its files are found before they are flushed; by default Loki would hide them."""
    days = [Entry(NOW - day * 86400, {"job": "sqmon"}, json.dumps({"day": day})) for day in range(8)]
    query = 'sum by (job) (count_over_time({job="sqmon"} [9d]))'

    assert evaluated(query, days, NOW, limits=SHIPPED) == [({"job": "sqmon"}, 8.0)]
    assert evaluated(query, days, NOW, limits=DEFAULTS) == [({"job": "sqmon"}, 1.0)]


def test_shipped_loki_keeps_a_segment_one_stream() -> None:
    """In shards of a stream, a line that came twice would be shown twice."""
    limits = yaml.safe_load((ROOT / "alloy" / "loki" / "loki.yaml").read_text("utf-8"))["limits_config"]

    assert limits["shard_streams"] == {"enabled": False}


def test_shipped_loki_answers_queries_with_a_series_for_each_lock(crowded: Site) -> None:
    """Nobody's own query fails for 1,247 locks."""
    assert len(evaluated(_SHIPPED_ONCE, crowded.entries, EVALUATED, limits=SHIPPED)) == MANY
