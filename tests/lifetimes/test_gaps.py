"""When the monitor was blind, as its events tell."""

from __future__ import annotations

from typing import Any

from sqmon.clock import utc_stamp
from sqmon.lifetimes.gaps import Gap, Gaps
from tests.lifetimes.site import NOON_NS, SECOND


def ns(at: float) -> int:
    """Nanoseconds since 1970 of a second after noon."""
    return NOON_NS + round(at * SECOND)


def take(gaps: Gaps, at: float, event: str, target: str = "show_locks", **fields: Any) -> Any:
    """Let an event be heard."""
    return gaps.take({"ts": utc_stamp(ns(at)), "event": event, "target": target, **fields})


def test_gap_that_is_over_is_told_by_its_event() -> None:
    """A gap event gives its range and reason, with the records that were lost where there are any."""
    gaps = Gaps()
    times = {"since": utc_stamp(ns(0)), "until": utc_stamp(ns(60))}

    assert Gap("show_locks", ns(0), ns(60), "killed") == take(gaps, 61, "gap", reason="killed", **times)
    lost = take(gaps, 61, "gap", reason="disk full", first_seq=3, last_seq=9, **times)
    assert (3, 9) == (lost.first_seq, lost.last_seq)
    assert gaps.first_ns == ns(61)


def test_metric_that_fails_is_a_gap_since_its_last_good_poll() -> None:
    """Until its event comes, a gap lasts since the last good poll, with the first reason; a good poll ends it."""
    gaps = Gaps()
    take(gaps, 0, "poll", status="ok")
    take(gaps, 2, "poll", status="timeout", error="no answer")
    take(gaps, 3, "worker_exit", kind="timeout", reason="killed")

    assert [Gap("show_locks", ns(0), None, "no answer")] == gaps.ongoing(running=True)
    take(gaps, 60, "poll", status="empty")
    assert [] == gaps.ongoing(running=True)


def test_service_that_is_not_running_sees_nothing() -> None:
    """Without a service every metric has a gap, whose reason tells a stop from a kill; a metric that was removed has none."""
    gaps = Gaps()
    for target in ("show_locks", "show_cluster_nodes"):
        take(gaps, 0, "poll", target, status="ok")
    take(gaps, 5, "config_reloaded", removed="show_cluster_nodes")
    assert [Gap("show_locks", ns(0), None, "no sqmon is running, and the last one was killed")] == gaps.ongoing(running=False)
    take(gaps, 9, "stop")
    assert ["stopped"] == [gap.reason for gap in gaps.ongoing(running=False)]


def test_metric_that_was_never_polled_well_is_a_gap_since_its_worker_began() -> None:
    """A database that never answered leaves a gap from the first start of a worker on."""
    gaps = Gaps()
    take(gaps, 1, "worker_start")
    take(gaps, 4, "worker_exit", kind="connection", reason="connection refused")

    assert [Gap("show_locks", ns(1), None, "connection refused")] == gaps.ongoing(running=True)
