"""When missed polls are a gap."""

from __future__ import annotations

from sqmon.config.settings import Metric
from sqmon.supervisor.absence import Absence
from sqmon.supervisor.tally import Outage

METRIC = Metric("show_locks", 2.0, 10.0, "select show_locks();")
SECOND = 10**9


def test_missed_polls_are_one_gap_with_its_first_reason() -> None:
    """A gap lasts from the last good poll to the next one, and its reason is the first."""
    outage = Outage(0)
    assert outage.polled(10 * SECOND, METRIC) is None

    outage.failed("the server closed the connection", "run-1")
    outage.failed("the connection was refused", "run-2")
    assert outage.latest == "the connection was refused"

    assert {
        "target": "show_locks",
        "target_run_id": "run-1",
        "reason": "the server closed the connection",
        "since": "1970-01-01T00:00:10.000000000Z",
        "until": "1970-01-01T00:01:10.000000000Z",
        "lasted_s": 60.0,
    } == outage.polled(70 * SECOND, METRIC)
    assert outage.polled(72 * SECOND, METRIC) is None
    assert outage.latest == ""


def test_restart_within_the_interval_is_no_gap() -> None:
    """A worker that died and was back in time has missed nothing."""
    outage = Outage(0)
    outage.polled(10 * SECOND, METRIC)
    outage.failed("killed by SIGKILL (out of memory?)", "run-1")

    assert outage.polled(12 * SECOND, METRIC) is None


def test_outage_during_which_the_clock_was_set_back_is_a_gap() -> None:
    """Nobody knows how long it was, so it is told, and it does not end before it begins."""
    outage = Outage(0)
    outage.polled(7200 * SECOND, METRIC)
    outage.failed("the connection was refused", "run-1")

    assert {
        "target": "show_locks",
        "target_run_id": "run-1",
        "reason": "the connection was refused",
        "since": "1970-01-01T00:10:00.000000000Z",
        "until": "1970-01-01T00:10:00.000000000Z",
        "lasted_s": 0.0,
    } == outage.polled(600 * SECOND, METRIC)


def test_slow_polls_without_a_failure_are_no_gap() -> None:
    """Late polls are no gap, since the poll events tell skipped ticks."""
    outage = Outage(0)

    assert outage.polled(60 * SECOND, METRIC) is None


def test_absence_of_the_service_is_a_gap_however_short_it_was() -> None:
    """The absence lasts from the last good poll before the start to the first after it, whatever fails in between."""
    outage = Outage(9 * SECOND)
    outage.absent(Absence(5 * SECOND, "stopped", "run-0"))
    assert "" == outage.latest

    outage.failed("the connection was refused", "run-1")

    assert {
        "target": "show_locks",
        "target_run_id": "run-0",
        "reason": "stopped",
        "since": "1970-01-01T00:00:05.000000000Z",
        "until": "1970-01-01T00:00:06.000000000Z",
        "lasted_s": 1.0,
    } == outage.polled(6 * SECOND, METRIC)

    outage.failed("killed by SIGKILL (out of memory?)", "run-1")

    assert outage.polled(8 * SECOND, METRIC) is None


def test_gap_never_ends_before_it_began() -> None:
    """A gap doesn't end before it began, even if the clock was set back while no service ran."""
    outage = Outage(0)
    outage.absent(Absence(60 * SECOND, "stopped", "run-0"))
    gap = outage.polled(30 * SECOND, METRIC)

    assert gap is not None
    assert gap["since"] == gap["until"] == "1970-01-01T00:00:30.000000000Z"
