"""Moments read from files: at any time, step by step, and as the files grow."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

import pytest

from sqmon.clock import stamp_ns
from sqmon.errors import SqmonError
from sqmon.lifetimes.polls import Row
from sqmon.storage.directory_lock import DirectoryLock
from sqmon.storage.file_sources import source_at
from sqmon.top.frame import printed, scene_of
from sqmon.top.moment import Moment
from sqmon.top.recording import Recording
from sqmon.top.state import State
from sqmon.top.table import Level
from sqmon.top.views import VIEWS
from tests.lifetimes.site import lock, own, server_time
from tests.support.recording import Recording as Written
from tests.top.moments import node, runs

SECOND = 10**9
RUN, NEXT_RUN = "20261124T120000Z-0001", "20261124T130000Z-0002"


def held(number: int) -> Row:
    """Return a row of show_locks without the columns that sqmon computes."""
    return {name: value for name, value in lock(number).items() if name != "statement_hash"} | {"is_statement_active": 1}


def statements(at: float, *numbers: int) -> list[Row]:
    """Return the rows of show_server_status, that of the poll itself among them."""
    rows = [{**runs(number), "statementstarttime": server_time(at - 3)} for number in numbers]
    rows.append({**own(900 + int(at), at), "instanceid": "node_9"})
    return [
        {name: row.get(name) for name in rows[0] if name not in ("is_self", "statement_age_s", "status_age_s", "statement_hash")}
        for row in rows
    ]


class Site:
    """A service whose polls are written one by one; each step is two seconds."""

    def __init__(self, place: Path, **more: Any) -> None:
        self.written = Written(place, **more)
        self.told_ns: list[int] = []
        self.start_ns = self.written.clock.time_ns()

    def start(self, **fields: Any) -> None:
        """Write that a service has started."""
        self.written.event("start", cluster="prod", **fields)

    def step(self, *numbers: int, locks: Optional[list[int]] = None, status: str = "") -> None:
        """Poll locks, statements and nodes; each statement holds a lock unless `locks` says who does."""
        more: dict[str, Any] = {"status": status, "error": "timeout: no answer"} if status else {}
        rows = [] if status else [held(number) for number in (numbers if locks is None else locks)]
        self.written.poll("show_locks", rows, **more)
        self.told_ns.append(self.now_ns)
        self.written.advance(0.2)
        self.written.poll("show_server_status", [] if status else statements(self.seconds, *numbers), **more)
        self.written.poll("show_cluster_nodes", [] if status else [node("node_1")], **more)
        self.written.advance(1.8)

    @property
    def seconds(self) -> float:
        """Seconds since noon."""
        return (self.now_ns - self.start_ns) / SECOND

    @property
    def now_ns(self) -> int:
        """The present."""
        return self.written.clock.time_ns()


@pytest.fixture(params=["rows", "changes", "single"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A service that writes segments with every row, segments with changes, or one file."""
    options: Mapping[str, Mapping[str, Any]] = {
        "rows": {"max_bytes": 4000},
        "changes": {"emit": "changes", "keyframe_s": 7},
        "single": {"single": True},
    }
    made = Site(tmp_path / "logs", **options[request.param])
    made.start()
    yield made
    made.written.close()


def read(tmp_path: Path) -> Recording:
    """Return the recording of what was written."""
    return Recording(source_at(tmp_path / "logs"))


def ids(of: Moment) -> list[str]:
    """Return the statements that hold locks."""
    return sorted({str(row["statement_id"]) for row in of.rows("show_locks")})


def text(of: Moment) -> list[str]:
    """Return what all views say, without the headers, which have the time."""
    scene = scene_of(of)
    return [each.text for view in range(len(VIEWS)) for each in printed(scene, State(view=view), None, mode="")[2:]]


def test_every_poll_can_be_stepped_to(site: Site, tmp_path: Path) -> None:
    """Forwards and backwards, each step is the poll beside the one that is shown, and its rows are those that it returned."""
    expected = [[1], [1, 2], [], [2, 3], [3], [3], [4, 5]]
    for numbers in expected:
        site.step(*numbers)
    with read(tmp_path) as recording:
        at_ns: Optional[int] = site.start_ns - 1
        seen = []
        while at_ns is not None:
            at_ns = recording.neighbour("show_locks", at_ns, later=True)
            seen += [] if at_ns is None else [(at_ns, ids(recording.at(at_ns)))]
        back, at_ns = [], site.now_ns
        back.append((site.told_ns[-1], ids(recording.at(at_ns))))
        while at_ns is not None:
            at_ns = recording.neighbour("show_locks", at_ns, later=False)
            back += [] if at_ns is None else [(at_ns, ids(recording.at(at_ns)))]

    assert [(told_ns, [*map(str, numbers)]) for told_ns, numbers in zip(site.told_ns, expected)] == seen
    assert seen == back[::-1]


def test_metric_that_is_not_polled_has_no_steps(site: Site, tmp_path: Path) -> None:
    """There is no step to a poll of a metric that nobody polls, and without a metric each step is to the nearest poll of any."""
    site.step(1)
    with read(tmp_path) as recording:
        first = recording.neighbour("", site.start_ns - 1, later=True)

        assert [None] * 2 == [recording.neighbour("get_license_info", site.told_ns[0], later=later) for later in (True, False)]
        assert site.told_ns[0] == first
        assert first < (recording.neighbour("", first, later=True) or 0) < site.now_ns


def test_replay_shows_what_was_live(site: Site, tmp_path: Path) -> None:
    """What is shown of a time is the same later on as it was then; nothing new is nothing to show."""
    site.step(1)
    with read(tmp_path) as recording:
        live = []
        for numbers in ([1], [1, 2], [], [2]):
            site.step(*numbers)
            shown = recording.now(site.now_ns)
            assert shown is not None
            live.append((site.now_ns, text(shown)))
            assert recording.now(site.now_ns) is None
        replayed = [text(recording.at(at_ns)) for at_ns, _ in live]

    assert replayed == [lines for _, lines in live]


def test_what_fails_keeps_its_rows_and_says_why(site: Site, tmp_path: Path) -> None:
    """While polls fail, the rows of the last good one stay, with the reason and since when; one good poll ends it."""
    site.step(1)
    good_ns = site.now_ns
    for _ in range(3):
        site.step(status="timeout")
    bad_ns = site.now_ns
    site.step(2)
    with read(tmp_path) as recording:
        good, bad, again = (recording.at(at_ns)._replace(absence="") for at_ns in (good_ns, bad_ns, site.now_ns))

    assert [["1"], ["1"], ["2"]] == [ids(of) for of in (good, bad, again)]
    assert [Level.FINE, Level.CRITICAL, Level.FINE] == [of.health().level for of in (good, bad, again)]
    assert bad.health().text.endswith(": timeout: no answer")


def test_time_without_a_service_is_not_a_quiet_one(tmp_path: Path) -> None:
    """Between two services the monitor was blind, because the first was stopped or killed; the rows are those from before."""
    site = Site(tmp_path / "logs")
    site.start()
    for reason in ("stopped", "killed"):
        site.step(1)
        if reason == "stopped":
            site.written.event("stop", reason="SIGTERM")
        site.written.advance(3 * 3600)
        site.written.restart(NEXT_RUN + reason)
        site.start()
    site.step(2)
    site.written.close()
    starts = [0, 3 * 3600]
    with read(tmp_path) as recording:
        stopped, killed = (recording.at(site.start_ns + (start + 3600) * SECOND) for start in starts)
        soon = recording.at(site.start_ns + 3 * SECOND)
        never = recording.at(site.start_ns - SECOND)

    assert ("the service was stopped", "the service was killed") == (stopped.absence, killed.absence)
    assert (["1"], ["1"]) == (ids(stopped), ids(killed))
    assert "the service was stopped" == soon.absence
    assert "nothing is known of this time" == never.health().text


def test_lock_of_the_directory_tells_whether_a_service_runs(tmp_path: Path) -> None:
    """The newest moment of a directory is blind unless a service holds it."""
    site = Site(tmp_path / "logs")
    site.start()
    site.step(1)
    with read(tmp_path) as recording:
        alone = recording.now(site.now_ns)
        with DirectoryLock(tmp_path / "logs"):
            held = recording.now(site.now_ns)

    assert alone is not None
    assert held is not None
    assert ("the service was killed", "") == (alone.absence, held.absence)


def test_workers_are_compared_with_the_hour_before(tmp_path: Path) -> None:
    """A worker that was listed within the hour and is not any more is gone."""
    site = Site(tmp_path / "logs")
    site.start()
    site.written.poll("show_cluster_nodes", [node("node_1"), node("node_2")])
    site.written.advance(1800)
    site.written.poll("show_cluster_nodes", [node("node_1")])
    with read(tmp_path) as recording:
        workers = scene_of(recording.at(site.now_ns)).tables[0].rows()

    assert [("worker node_2", Level.CRITICAL), ("worker node_1", Level.FINE)] == [(row.key, row.level) for row in workers]


def test_trouble_of_the_last_hours_is_told(tmp_path: Path) -> None:
    """Warnings and errors are remembered longer than polls, those of one minute before the rest."""
    site = Site(tmp_path / "logs")
    site.start()
    site.written.event("gap", "warning", target="show_locks", reason="an hour ago")
    site.written.advance(3600)
    site.step(1)
    site.written.event("backlog", "error", target="show_locks", reason="just now")
    with read(tmp_path) as recording:
        events = recording.at(site.now_ns).events

    assert ["an hour ago", "just now"] == [event["reason"] for event in events]


def test_rows_that_are_not_all_there_are_not_shown(tmp_path: Path) -> None:
    """A poll of which a line is missing is no evidence: the one before it is shown."""
    site = Site(tmp_path / "logs")
    site.start()
    site.step(1, 2)
    site.step(3, 4)
    site.written.close()
    (segment,) = (tmp_path / "logs" / "show_locks").iterdir()
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:-1]))
    with read(tmp_path) as recording:
        moment = recording.at(site.now_ns)

    assert ["1", "2"] == ids(moment)


def test_place_without_events_is_refused(tmp_path: Path) -> None:
    """Where no service has written, one line says so."""
    (tmp_path / "logs").mkdir()

    with pytest.raises(SqmonError, match="no events of a service here"):
        read(tmp_path)


def test_stamps_are_those_of_the_clock(tmp_path: Path) -> None:
    """The age of data counts from the end of its poll."""
    site = Site(tmp_path / "logs")
    site.start()
    site.step(1)
    with read(tmp_path) as recording:
        poll = recording.at(site.now_ns).poll("show_locks")

    assert poll is not None
    assert site.told_ns[0] - 10**7 == poll.began_ns == stamp_ns(poll.rows[0]["ts"])
    assert abs(poll.ended_ns - poll.began_ns - 10**7) <= 2000
