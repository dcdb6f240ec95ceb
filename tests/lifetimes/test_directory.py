"""Polls read back from a directory: which of them are evidence, and which are not."""

from __future__ import annotations

from pathlib import Path

from sqmon.lifetimes.directory import Directory
from sqmon.lifetimes.polls import Poll
from tests.lifetimes.files import RUNS, Files
from tests.lifetimes.site import NOON_NS, SECOND


def polls_of(directory: Directory) -> list[Poll]:
    """The polls that are evidence and were not read yet."""
    return [heard.poll for heard in directory.read() if heard.poll is not None]


def said(polls: list[Poll]) -> list[tuple[int, list[int]]]:
    """The number of each poll and the ids of its rows."""
    return [(poll.poll, [row["statement_id"] for row in poll.rows]) for poll in polls]


def test_good_polls_are_evidence_and_no_others(tmp_path: Path) -> None:
    """Polls that failed, timed out or were skipped are none, nor those of which a record is missing or torn."""
    files = Files(tmp_path)
    files.poll(RUNS[0], 1, 0.0, 7, 8)
    files.event(RUNS[0], 2, 2.0, "error", error="gone")
    files.event(RUNS[0], 3, 4.0, "timeout", error="slow")
    files.event(RUNS[0], 4, 6.0, "skipped", skipped=3)
    files.event(RUNS[0], 5, 8.0, rows=2, seqs=[3, 4])  # its records were dropped
    files._seqs[RUNS[0]] = 4
    files.poll(RUNS[0], 6, 10.0)
    files.rows(RUNS[0], 7, 12.0, 9)  # the worker was killed before it could tell
    files.poll(RUNS[1], 1, 60.0, 7)
    files.rows(RUNS[1], 2, 62.0, 7, torn=True)
    files.event(RUNS[1], 2, 62.0, rows=1, seqs=[2])

    polls = polls_of(Directory(tmp_path, ["show_locks"]))

    assert [(1, [7, 8]), (6, []), (1, [7])] == said(polls)
    assert [(RUNS[0], 0.0, 0.5), (RUNS[0], 10.0, 10.5), (RUNS[1], 60.0, 60.5)] == [
        (poll.run_id, (poll.began_ns - NOON_NS) / SECOND, round((poll.ended_ns - NOON_NS) / SECOND, 3)) for poll in polls
    ]
    assert polls[0].rows[0]["lock_mode"] == "Exclusive"


def test_run_that_nobody_told_of_holds_nothing_up_when_the_clock_was_set_back(tmp_path: Path) -> None:
    """The lines of a worker that was killed before its first poll was told come first, whatever the clock says: its start was told."""
    files = Files(tmp_path)
    files.started(RUNS[0], 3600.0)
    files.rows(RUNS[0], 1, 3600.0, 7)
    files.started(RUNS[1], 0.0)
    files.poll(RUNS[1], 1, 2.0, 8)

    assert [(1, [8])] == said(polls_of(Directory(tmp_path, ["show_locks"])))


def test_segment_that_is_gone_takes_its_polls_with_it(tmp_path: Path) -> None:
    """A poll whose records retention has deleted says nothing, and those after it count."""
    files = Files(tmp_path)
    files.poll(RUNS[0], 1, 0.0, 7)
    files.number = 2
    files.poll(RUNS[0], 2, 2.0, 7, 8)
    min((tmp_path / "show_locks").iterdir()).unlink()

    assert [(2, [7, 8])] == said(polls_of(Directory(tmp_path, ["show_locks"])))


def test_what_was_added_is_read_once(tmp_path: Path) -> None:
    """Reading again gives the polls that came meanwhile, also those in a segment that is new."""
    files = Files(tmp_path)
    directory = Directory(tmp_path, ["show_locks"])
    assert [] == polls_of(directory)
    for poll in (1, 2, 3):
        files.number = poll
        files.poll(RUNS[0], poll, 2.0 * poll, 7)
        assert [(poll, [7])] == said(polls_of(directory))


def test_changes_are_folded_and_proved(tmp_path: Path) -> None:
    """Changes give the rows of each poll; after a lost line nothing is evidence until a poll is written whole."""

    def change(poll: int, at: float, kind: str, *hashes: int) -> list[int]:
        lines = ({"poll": poll, "poll_rows": 9, "change": kind, "statement_id": each, "row_hash": f"{each:032x}"} for each in hashes)
        return [files._write("show_locks", RUNS[0], at, line) for line in lines]

    files = Files(tmp_path)
    files.event(RUNS[0], 1, 0.0, rows=2, seqs=change(1, 0.0, "key", 7, 8), digest=f"{15:032x}", key=True)
    files.event(RUNS[0], 2, 2.0, rows=2, digest=f"{15:032x}", key=False)
    files.event(RUNS[0], 3, 4.0, rows=1, seqs=change(3, 4.0, "removed", 7), digest=f"{8:032x}", key=False)
    files._seqs[RUNS[0]] += 1  # a line that was dropped
    files.event(RUNS[0], 4, 6.0, rows=2, seqs=[4], digest=f"{17:032x}", key=False)
    files.event(RUNS[0], 5, 8.0, rows=2, digest=f"{17:032x}", key=False)
    files.event(RUNS[0], 6, 10.0, "empty", digest=f"{0:032x}", key=True)
    files.event(RUNS[0], 7, 12.0, rows=1, seqs=change(7, 12.0, "added", 9), digest=f"{9:032x}", key=False)

    assert [(1, [7, 8]), (2, [7, 8]), (3, [8]), (6, []), (7, [9])] == said(polls_of(Directory(tmp_path, ["show_locks"])))


def test_events_without_the_beginning_of_a_poll_have_wider_bounds(tmp_path: Path) -> None:
    """Files of an older sqmon are evidence, too: a poll began with its first row, or not before the end of the one before."""
    files = Files(tmp_path)
    files.event(RUNS[0], 1, 0.0, rows=1, seqs=files.rows(RUNS[0], 1, 0.0, 7), began=None)
    files.event(RUNS[0], 2, 2.0, "empty", began=None)

    polls = polls_of(Directory(tmp_path, ["show_locks"]))
    assert [(0.0, 0.6), (0.6, 2.6)] == [((poll.began_ns - NOON_NS) / SECOND, (poll.ended_ns - NOON_NS) / SECOND) for poll in polls]


def test_lines_of_somebody_else_are_passed_over(tmp_path: Path) -> None:
    """Events that lack what every event has are no evidence and no reason to end."""
    files = Files(tmp_path)
    files._write("sqmon", "sqmon", 0.0, {"event": "poll", "target": "show_locks"})
    files._write("sqmon", "sqmon", 0.0, {})
    files.poll(RUNS[0], 1, 2.0, 7)

    assert [(1, [7])] == said(polls_of(Directory(tmp_path, ["show_locks"])))
