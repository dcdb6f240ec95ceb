"""Any poll, whole, and the steps from one to the next."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import pytest

from sqmon.config.settings import Emit
from sqmon.storage.compression import Source as ToCompress
from sqmon.storage.compression import compress
from sqmon.storage.file_sources import source_at
from sqmon.storage.knowledge import Knowledge
from sqmon.storage.polls import Polls
from sqmon.storage.whole_poll import WholePoll
from tests.support.recording import Recording


class Recorded(NamedTuple):
    """What was polled: when each poll began, and its rows."""

    place: Path
    began: list[int]
    rows: list[list[dict[str, Any]]]


def record(place: Path, *, single: bool = False, emit: Emit = "rows", archived: bool = False, max_bytes: int = 4000) -> Recorded:
    """Record 60 polls of two metrics, in small segments of two runs; some polls have no rows, and some fail."""
    recording = Recording(place, max_bytes=max_bytes, single=single, emit=emit, keyframe_s=15)
    chance = random.Random(1)
    began, polled = [], []
    alive: set[int] = set()
    for number in range(60):
        if number == 30:
            recording.restart("20261124T120100Z-0002")
        alive = {each for each in {*alive, number} if chance.random() < 0.8} if number % 9 else set()
        rows = [{"statement_id": str(each), "username": "u" * 20} for each in sorted(alive)]
        if number % 7 == 3:
            recording.poll("show_locks", [], status="error", error="it failed")
        else:
            began.append(recording.poll("show_locks", rows, lasts=0.3))
            polled.append(rows)
        recording.poll("other", [{"x": number}])
        recording.advance(2)
    recording.close()
    for seal in recording.sealed if archived else ():
        compress(place, ToCompress(seal.file, seal.bytes, seal.sha256, Knowledge.READ, 0, None), lambda: None)
    return Recorded(place, began, polled)


def plain(poll: WholePoll) -> list[dict[str, Any]]:
    """Return the rows of a poll as they were recorded, in their order."""
    rows = [{name: row[name] for name in ("statement_id", "username")} for row in poll.rows]
    return sorted(rows, key=lambda row: int(row["statement_id"]))


@pytest.fixture(
    params=[
        {},
        {"archived": True},
        {"emit": "changes"},
        {"emit": "changes", "archived": True},
        {"single": True, "max_bytes": 16_000},
        {"single": True, "emit": "changes", "max_bytes": 16_000},
    ],
    ids=str,
)
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Recorded:
    """A recording of each kind."""
    return record(tmp_path / ("all.jsonl" if "single" in request.param else "logs"), **request.param)


@pytest.fixture
def polls(recorded: Recorded) -> Iterator[Polls]:
    """The polls of one of its metrics."""
    opened = Polls(source_at(recorded.place), "show_locks")
    yield opened
    opened.close()


def test_poll_of_any_moment_is_whole(recorded: Recorded, polls: Polls) -> None:
    """The newest good poll that began at a moment or before comes with all of its rows, whichever moment it is."""
    for place, began_ns in enumerate(recorded.began):
        for moment_ns in (began_ns, began_ns + 10**8, began_ns + 19 * 10**8):
            poll = polls.at(moment_ns)
            assert poll is not None
            assert (began_ns, recorded.rows[place], "") == (poll.began_ns, plain(poll), poll.problem)
    assert polls.at(recorded.began[0] - 1) is None


def test_steps_lead_through_all_polls(recorded: Recorded, polls: Polls) -> None:
    """From the newest poll back to the first and forth again, each good poll comes once."""
    poll = polls.newest()
    back = []
    while poll is not None:
        back.append(poll)
        poll = polls.before(poll)
    forth = [back[-1]]
    while (following := polls.after(forth[-1])) is not None:
        forth.append(following)

    assert list(zip(recorded.began, recorded.rows)) == [(poll.began_ns, plain(poll)) for poll in forth]
    assert forth == back[::-1]
    assert {""} == {poll.problem for poll in forth}


@pytest.mark.parametrize("emit", ["rows", "changes"])
def test_polls_of_a_segment_on_its_own_are_those_that_wrote_lines(tmp_path: Path, emit: Emit) -> None:
    """Without events the lines tell which polls there were: those without a line are not known."""
    told = record(tmp_path / "logs", emit=emit, max_bytes=1 << 20)
    paths = sorted((tmp_path / "logs" / "show_locks").iterdir())
    polls = Polls(source_at(paths[0]), "show_locks")
    good = sum(number % 7 != 3 for number in range(30))  # polls of the first run
    wrote = dict(zip(told.began[:good], told.rows))
    found: dict[int, list[dict[str, Any]]] = {}
    poll = polls.newest()
    while poll is not None:
        found[poll.began_ns] = plain(poll)
        assert poll.problem == ""
        again = polls.at(poll.began_ns)
        assert (again and again.rows) == poll.rows
        poll = polls.before(poll)
    polls.close()

    assert len(found) > 15
    assert {began_ns: wrote[began_ns] for began_ns in found} == found
    if emit == "rows":
        assert {began_ns for began_ns, rows in wrote.items() if rows} == found.keys()


def test_poll_whose_lines_are_missing_says_so(tmp_path: Path) -> None:
    """Rows that are not in the files any more are not silently left out."""
    told = record(tmp_path / "logs", max_bytes=1 << 20)
    path = min((tmp_path / "logs" / "show_locks").iterdir())
    lines = path.read_bytes().splitlines(keepends=True)
    last = next(number for number, rows in enumerate(told.rows) if len(rows) > 1)
    before = sum(map(len, told.rows[:last]))
    path.write_bytes(b"".join(lines[:before] + lines[before + 1 :]))
    polls = Polls(source_at(tmp_path / "logs"), "show_locks")
    poll = polls.at(told.began[last])
    polls.close()

    count = len(told.rows[last])
    assert (poll and poll.problem) == f"only {count - 1} of {count} rows are there"
