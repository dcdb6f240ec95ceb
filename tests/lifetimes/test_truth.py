"""Lifetimes against the truth of the simulator: a living cluster with contention, orphans, outages and restarts."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sqmon.clock import stamp_ns
from sqmon.lifetimes.lifetimes import Lifetimes
from sqmon.lifetimes.lines import Line
from sqmon.lifetimes.polls import Poll, renamed
from sqmon.records.column_names import normalised
from sqmon.simulator.cluster import Cluster
from sqmon.simulator.default_functions import Caller, Question
from sqmon.simulator.life import Life
from sqmon.simulator.other_functions import FUNCTIONS
from sqmon.simulator.truth import nanoseconds
from tests.lifetimes.site import events

INTERVALS = {"show_locks": 2.0, "show_server_status": 2.0, "show_cluster_nodes": 4.0}
LONGEST_POLL = 0.3
SECONDS = 600
GENERATION = "4.10"


class Watched:
    """A cluster whose time a test moves, and what polls of it reveal; some polls are missed."""

    def __init__(self, seed: int, *, missed: float = 0.0, **life: Any) -> None:
        self.now = 1_795_521_600.0
        self.cluster = Cluster(clock=lambda: self.now, seed=seed, databases=("master",), services=("sqream", "monitor"), life=Life(**life))
        self.began = self.now
        self.asked: dict[str, list[int]] = {metric: [] for metric in INTERVALS}
        self.lines: list[Line] = []
        self.lifetimes = Lifetimes()
        self._chance = random.Random(seed)
        self._missed = missed
        self._due = [(self.now + self._chance.random(), metric) for metric in INTERVALS]

    def watch(self, seconds: float) -> None:
        """Let time pass and poll meanwhile."""
        end = self.now + seconds
        while min(self._due)[0] < end:
            due, metric = min(self._due)
            self._due.remove((due, metric))
            self._due.append((due + INTERVALS[metric], metric))
            if self._chance.random() >= self._missed:
                self._poll(metric, max(due, self.now))
        self.now = end

    def _poll(self, metric: str, at: float) -> None:
        self.now = at
        self.cluster.advance()
        caller = Caller(1, "sqream", "master", "monitor", "127.0.0.1", at, self.cluster.next_statement_id(), f"select {metric}()", at)
        self.now += self._chance.uniform(0.0, LONGEST_POLL / 2)
        answered = self.cluster.advance()
        function = FUNCTIONS[metric]
        names = normalised([column.name for column in function.columns[GENERATION]], ())
        rows = [
            {**dict(zip(names, row)), "is_self": row[2] == 1 if metric == "show_server_status" else None}
            for row in function.rows(Question(self.cluster, GENERATION, False, "v2023.1.0", caller))
        ]
        self.now += self._chance.uniform(0.0, LONGEST_POLL / 2)
        self.asked[metric].append(nanoseconds(answered))
        polls = self.asked[metric]
        self.lines += self.lifetimes.take(
            Poll(metric, metric, len(polls), nanoseconds(at), nanoseconds(self.now) + 1000, renamed(metric, rows))
        )

    def seen(self, metric: str, spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The spans of the truth that some poll has seen."""
        return [span for span in spans if any(span["began_ns"] <= at and not _over(span, at) for at in self.asked[metric])]


def _over(span: dict[str, Any], at_ns: int) -> bool:
    return span["ended_ns"] is not None and span["ended_ns"] <= at_ns


def _fits(line: Line, span: dict[str, Any]) -> bool:
    """Whether the truth lies within the bounds of a line."""
    after, before = line["began_after"], stamp_ns(line["began_before"])
    ended_after, ended_before = stamp_ns(line["ended_after"]), line["ended_before"]
    ended = span["ended_ns"] if span["ended_ns"] is not None else 1 << 62
    return (
        (after is None or stamp_ns(after) <= span["began_ns"])
        and span["began_ns"] <= before
        and ended_after <= ended
        and (ended_before is None or ended <= stamp_ns(ended_before))
    )


@pytest.mark.parametrize(
    ("seed", "missed", "life"),
    [(1, 0.0, {"contention": 0.3}), (2, 0.3, {"contention": 0.1}), (3, 0.1, {"clock_skew": -75.5, "time_zone": "Asia/Seoul"})],
)
def test_every_lock_and_statement_is_told_once_with_true_bounds(seed: int, missed: float, life: dict[str, Any]) -> None:
    """Whatever is missed, restarts of the server included, each lock and statement that a poll saw has one life, which is true."""
    site = Watched(seed, missed=missed, **life)
    for _ in range(3):
        site.watch(SECONDS / 3)
        site.cluster.restart()
    site.watch(30)
    truth = site.cluster.truth.as_dict()

    for metric, kind, came, went, names in (
        ("show_locks", "locks", "lock_acquired", "lock_released", ("statement_id", "locked_object", "lock_mode")),
        ("show_server_status", "statements", "statement_seen", "statement_ended", ("statement_id",)),
    ):
        seen = site.seen(metric, truth[kind])
        for event, spans in ((came, seen), (went, [span for span in seen if _over(span, site.asked[metric][-1])])):
            lines = events(site.lines, event)
            assert sorted(tuple(span[name] for name in names) for span in spans) == sorted(
                tuple(line[name] for name in names) for line in lines
            )
            for line in lines:
                assert any(_fits(line, span) for span in spans if all(span[name] == line[name] for name in names)), line
    assert len(events(site.lines, "server_restarted")) == 3


def test_server_that_nobody_asked_meanwhile_has_restarted_within_the_bounds() -> None:
    """The instant of each restart lies within the bounds of its line."""
    site = Watched(4)
    for _ in range(5):
        site.watch(61.7)
        site.cluster.restart()
    site.watch(10)

    restarts = site.cluster.truth.as_dict()["restarts"]
    lines = events(site.lines, "server_restarted")
    assert len(restarts) == len(lines)
    for at, line in zip(restarts, lines):
        assert stamp_ns(line["began_after"]) <= at <= stamp_ns(line["began_before"])


def test_skew_and_zone_of_the_server_are_found() -> None:
    """The server's clock is where it is found to be, to about a second and the duration of a poll."""
    site = Watched(5, clock_skew=-75.5, time_zone="Asia/Seoul")
    site.watch(SECONDS)

    lines = events(site.lines, "clock_offset")
    assert all(line["offset_min_s"] <= 9 * 3600 - 75.5 <= line["offset_max_s"] for line in lines)
    assert lines[-1]["offset_max_s"] - lines[-1]["offset_min_s"] < 1.4


def test_lock_graph_is_nearly_always_right() -> None:
    """Of the waits that are told at least 95 % were waits, and of those that live through a poll at least 90 % are told."""
    right = told = found = lasting = 0
    for seed in range(4):
        site = Watched(seed, contention=0.3)
        site.watch(SECONDS)
        waits = [wait for wait in site.cluster.truth.as_dict()["waits"] if wait["began_ns"] >= nanoseconds(site.began)]
        blocked = {line["statement_id"]: set(line["blocked_by"].split(",")) for line in events(site.lines, "statement_blocked")}
        by_number = {wait["statement_id"]: set(wait["blocked_by"]) for wait in waits}
        told += len(blocked)
        right += sum(bool(blockers & by_number.get(number, set())) for number, blockers in blocked.items())
        seen = site.seen("show_server_status", waits)
        lasting += len(seen)
        found += sum(wait["statement_id"] in blocked for wait in seen)

    assert lasting > 200
    assert right / told >= 0.95
    assert found / lasting >= 0.9
