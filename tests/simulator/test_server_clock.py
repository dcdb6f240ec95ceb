"""The server's clock: what it writes when it is wrong, in another zone, and when it is set."""

from __future__ import annotations

import time

import pytest

from sqmon.simulator import Simulator
from sqmon.simulator.server_clock import DAY_FIRST, ServerClock
from tests.simulator.conftest import Clock
from tests.simulator.driver import ask, connect
from tests.simulator.test_cluster import rows
from tests.simulator.test_contention import UPDATE, cluster_of

MORNING = 1_800_000_000 - 4 * 3600


@pytest.mark.parametrize(
    ("skew", "zone", "written"),
    [
        (0, "UTC", "2027-01-15 04:00:00"),
        (-90, "UTC", "2027-01-15 03:58:30"),
        (0.75, "UTC", "2027-01-15 04:00:01"),
        (0, "+05:30", "2027-01-15 09:30:00"),
        (0, "-03:00", "2027-01-15 01:00:00"),
        (3600, "Asia/Seoul", "2027-01-15 14:00:00"),
    ],
)
def test_it_writes_its_own_time(skew: float, zone: str, written: str) -> None:
    """The server writes its clock's time, cut to the second, in its zone."""
    assert written == ServerClock(skew, zone).text(MORNING + 0.5)


def test_its_zone_is_that_of_the_host_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a zone the server's clock shows the host's local time."""
    with monkeypatch.context() as patch:
        # POSIX writes the zone that is two hours ahead of UTC as minus two.
        patch.setenv("TZ", "XXX-2")
        time.tzset()
        written = ServerClock().text(MORNING + 1, DAY_FIRST)
    time.tzset()

    assert written == "15-01-2027 06:00:01"


def test_summer_time_is_that_of_the_zone() -> None:
    """A zone's summer time is followed."""
    berlin = ServerClock(0, "Europe/Berlin")
    assert ["2027-03-28 01:59:59", "2027-03-28 03:00:00"] == [berlin.text(1_806_195_600 + second) for second in (-1, 0)]


def test_what_was_noted_stays_when_the_clock_is_set(clock: Clock) -> None:
    """After a step of the server's clock, times noted before are as they were, and later ones follow the new clock."""
    cluster = cluster_of(clock, idle=True, time_zone="UTC")
    before = cluster.order(UPDATE, seconds=None)
    clock.seconds += 10
    cluster.configure(clock_skew=-600, time_zone="+01:00")
    clock.seconds += 10
    after = cluster.order(UPDATE.replace(".t", ".u"), seconds=None)

    started = {row[8]: row[10] for row in rows(cluster, "show_server_status")}
    assert ("2027-01-15 08:00:00", "2027-01-15 08:50:20") == (started[before], started[after])
    taken = {row[0]: row[8] for row in rows(cluster, "show_locks")}
    assert taken == {str(before): started[before], str(after): started[after]}
    assert rows(cluster, "get_open_snapshots")[0][6] == "2027-01-15 08:50:20"
    assert [1_800_000_000 * 10**9, 1_800_000_020 * 10**9] == [span["began_ns"] for span in cluster.truth.as_dict()["statements"]]


def test_a_client_sees_the_skewed_clock(clock: Clock) -> None:
    """A client's own row has the server's time, in the form of the generation, and a setting that was left out stays."""
    with Simulator(clock=clock, idle=True, clock_skew=30, time_zone="Asia/Seoul", version="4.6", server_version=None) as simulator:
        cursor = connect(simulator.port).cursor()
        assert ask(cursor, "select show_server_status()")[0][10] == "15-01-2027 17:00:30"
        clock.seconds += 1
        simulator.configure(clock_skew=-1)
        assert ask(cursor, "select show_server_status()")[0][10] == "15-01-2027 17:00:00"
