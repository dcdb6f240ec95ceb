"""The segment writer on real disks: names, rotation, full and broken disks, and that every record is in a file or a report."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqmon.config.settings import SegmentOptions
from sqmon.storage.permissions import sync_directory
from sqmon.storage.segment import newest_ns
from sqmon.storage.segment_names import NO_SEGMENT, SegmentName, newest, parsed
from tests.support import ROOT
from tests.support.clocks import FakeClock
from tests.support.segment_files import Stream, assert_as_sealed, fill, records, segments, small_disk
from tests.support.users import NOBODY, as_nobody

NAME = re.compile(r"show_locks-20261124T\d{6}\.\d{6}Z-\d{6}\.jsonl")
ROOMY = SegmentOptions()


def assert_nothing_is_missing(stream: Stream) -> None:
    """Assert after the close that each seq is in the files or was reported, once, and that the sealed files are as reported."""
    expected = list(range(1, stream.encoder.seq + 1))
    assert sorted(stream.written_seqs() + stream.dropped_seqs()) == expected
    assert (stream.writer.pending, stream.writer.settled_seq) == (0, stream.encoder.seq)
    assert_as_sealed(stream.log_dir, stream.sealed)


def test_first_line_opens_the_segment(tmp_path: Path) -> None:
    """A segment is created by its first line."""
    stream = Stream(tmp_path / "logs", ROOMY)
    stream.writer.tick()

    assert (stream.writer.path, list(tmp_path.iterdir())) == (None, [])

    stream.poll(1)

    assert stream.writer.path == tmp_path / "logs/show_locks/show_locks-20261124T120000.000000Z-000001.jsonl"
    assert segments(tmp_path / "logs") == [stream.writer.path]


def test_lines_are_in_the_file_when_append_returns(tmp_path: Path) -> None:
    """When append returns, the lines are in the file for an agent to read."""
    stream = Stream(tmp_path, ROOMY)
    (batch,) = stream.poll(3)

    assert (stream.writer.settled_seq, stream.writer.pending, stream.writer.trouble) == (3, 0, "")
    assert stream.writer.path is not None
    assert stream.writer.path.read_bytes() == batch.data


def test_close_seals_with_the_figures_of_the_file(tmp_path: Path) -> None:
    """Closing seals the segment with its lines, bytes, seq range and checksum."""
    stream = Stream(tmp_path, ROOMY)
    stream.poll(700)
    stream.writer.close()

    assert [(seal.lines, seal.first_seq, seal.last_seq) for seal in stream.sealed] == [(700, 1, 700)]
    assert_nothing_is_missing(stream)


def test_large_polls_are_hashed_beside_the_writer(tmp_path: Path) -> None:
    """Large polls are hashed in a thread, in the order of the bytes, and no thread outlives its segment."""
    before = threading.active_count()
    stream = Stream(tmp_path, SegmentOptions(max_bytes=16 << 20))
    threads = []
    for rows in (1, 5_000, 1, 60_000, 3):
        stream.poll(rows)
        threads.append(threading.active_count() - before)
    assert threads[:4] == [0, 0, 0, 1]
    stream.writer.close()

    assert threading.active_count() == before
    assert_nothing_is_missing(stream)


def test_deleted_segments_leave_no_thread(tmp_path: Path) -> None:
    """The thread that hashes a segment ends with it, even if the file was deleted."""
    before = threading.active_count()
    stream = Stream(tmp_path, ROOMY)
    for leave in (Path.unlink, lambda path: os.truncate(path, 10), lambda path: path.rename(tmp_path / "elsewhere")):
        stream.poll(40_000)
        assert threading.active_count() == before + 1
        assert stream.writer.path is not None
        leave(stream.writer.path)
        stream.writer.tick()

        assert threading.active_count() == before


def test_rotation_by_size_falls_between_records(tmp_path: Path) -> None:
    """No segment is larger than allowed or ends in the middle of a line, and names sort in the order in which they were made."""
    stream = Stream(tmp_path, SegmentOptions(max_bytes=10_000))
    for _ in range(20):
        stream.poll(200)
    stream.writer.close()
    files = segments(tmp_path)

    assert len(files) > 50
    assert all(NAME.fullmatch(path.name) and path.read_bytes().endswith(b"}\n") for path in files)
    assert all(9_000 < path.stat().st_size <= 10_000 for path in files[:-1])
    assert [record["seq"] for record in records(tmp_path)] == list(range(1, 4001))
    assert [f"show_locks/{path.name}" for path in files] == [seal.file for seal in stream.sealed]
    assert_nothing_is_missing(stream)


def test_record_larger_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    """A record larger than a segment gets one of its own."""
    stream = Stream(tmp_path, SegmentOptions(max_bytes=10))
    stream.poll(5)
    stream.writer.close()

    assert [seal.lines for seal in stream.sealed] == [1, 1, 1, 1, 1]
    assert_nothing_is_missing(stream)


def test_rotation_by_age(tmp_path: Path) -> None:
    """A segment is sealed a day after its first line, and the next line opens another."""
    stream = Stream(tmp_path, ROOMY)
    stream.poll(1)
    stream.clock.advance(24 * 3600 - 1)
    stream.writer.tick()
    assert stream.sealed == []

    stream.clock.advance(1)
    stream.writer.tick()
    assert [seal.last_seq for seal in stream.sealed] == [1]
    assert stream.writer.path is None

    stream.poll(1)
    assert len(segments(tmp_path)) == 2


def test_new_process_never_appends_to_an_old_file(tmp_path: Path) -> None:
    """A new process never appends to an old file, even if that ends in half a line."""
    first = Stream(tmp_path, ROOMY)
    first.poll(2)
    assert first.writer.path is not None
    with first.writer.path.open("ab") as file:
        file.write(b'{"ts":"half')
    before = first.writer.path.read_bytes()

    second = Stream(tmp_path, ROOMY)
    second.poll(2)

    assert first.writer.path.read_bytes() == before
    assert [path.name[-12:-6] for path in segments(tmp_path)] == ["000001", "000002"]


def test_numbers_increase_when_the_clock_steps_back(tmp_path: Path) -> None:
    """When the clock steps back the number in the name still tells the order, in one process and across processes."""
    for _ in range(3):
        clock = FakeClock()
        clock.step(-3600.0 * len(segments(tmp_path)))
        stream = Stream(tmp_path, SegmentOptions(max_bytes=1), clock=clock)
        for _ in range(3):
            stream.poll(1)
            clock.step(-1000)
        stream.writer.close()

    assert [path.name[-12:-6] for path in segments(tmp_path)] == [f"{number:06d}" for number in range(1, 10)]
    assert [record["seq"] for record in records(tmp_path)] == [1, 2, 3] * 3
    stamps = [path.name.split("-")[1] for path in segments(tmp_path)]
    assert stamps == [first_line(path)["ts"].translate({ord("-"): None, ord(":"): None})[:22] + "Z" for path in segments(tmp_path)]
    assert stamps != sorted(stamps)


def first_line(path: Path) -> dict[str, Any]:
    """Return the first record of a segment."""
    found: dict[str, Any] = json.loads(path.read_bytes().partition(b"\n")[0])
    return found


def test_names_sort_by_time_while_the_clock_is_a_second_behind(tmp_path: Path) -> None:
    """A clock that is slewed back by less than a second changes nothing that is written."""
    stream = Stream(tmp_path, SegmentOptions(max_bytes=1))
    for _ in range(5):
        stream.poll(1)
        stream.clock.step(-0.2)
    names = [path.name for path in segments(tmp_path)]

    assert (names, stream.steps) == (sorted(names), [])


@pytest.mark.parametrize("back", [1.5, 7200.0, 70 * 365 * 86400.0])
def test_clock_that_was_set_right_gets_a_segment_of_its_own(tmp_path: Path, back: float) -> None:
    """When the clock is set back, the segment is sealed and the next one has the true time; ts increases within each."""
    stream = Stream(tmp_path, ROOMY)
    stream.clock.step(back)
    stream.poll(3)
    stream.clock.step(-back)
    for _ in range(3):
        stream.poll(3)
        stream.clock.advance(1)
    stream.writer.close()

    assert [(seal.first_seq, seal.last_seq) for seal in stream.sealed] == [(1, 3), (4, 12)]
    assert [round(step.back_s, 3) for step in stream.steps] == [back]
    assert first_line(segments(tmp_path)[1])["ts"] == "2026-11-24T12:00:00.000000000Z"
    assert_nothing_is_missing(stream)


def test_clock_that_was_set_right_between_two_runs(tmp_path: Path) -> None:
    """A new process that finds a line from the future reports it and begins with the true time; the next one reports nothing."""
    told = []
    for step in (7200.0, -7200.0, 0.0):
        clock = FakeClock()
        clock.step(max(step, 0.0) + len(segments(tmp_path)))
        stream = Stream(tmp_path, ROOMY, clock=clock)
        stream.poll(2)
        stream.writer.close()
        told.append([round(found.back_s) for found in stream.steps])

    assert told == [[], [7199], []]
    assert [first_line(path)["ts"][11:19] for path in segments(tmp_path)] == ["14:00:00", "12:00:01", "12:00:02"]


def test_clock_is_set_right_while_the_disk_is_full(tmp_path: Path) -> None:
    """Lines that waited go to the segment they belong to, where half a line is completed, and the next segment begins in time."""
    with small_disk(tmp_path / "disk") as disk:
        stream = Stream(disk, ROOMY)
        stream.clock.step(3600)
        stream.poll(10)
        filler = fill(disk)
        for _ in range(10):
            stream.poll(3)
            stream.clock.step(-600)
        filler.unlink()
        stream.writer.tick()
        stream.writer.close()

        assert [seal.lines for seal in stream.sealed] == [13] + [3] * 9
        assert_nothing_is_missing(stream)


def test_no_file_is_left_for_a_clock_that_was_set_right(tmp_path: Path) -> None:
    """If no new segment can be made for the true time, lines wait until one can."""
    with small_disk(tmp_path / "disk", options=",nr_inodes=5") as disk:
        stream = Stream(disk, ROOMY)
        stream.poll(3)
        stream.clock.step(-60)
        stream.poll(3)
        waiting = stream.writer.trouble
        shutil.rmtree(disk / "current")
        stream.writer.tick()
        stream.writer.close()

        assert waiting.startswith("show_locks: no space left on device (")
        assert [seal.lines for seal in stream.sealed] == [3, 3]
        assert_nothing_is_missing(stream)


def test_ts_can_go_on_after_the_last_line_of_the_run_before(tmp_path: Path) -> None:
    """ts continues after the last whole line of the earlier run, past half a line and an empty file."""
    stream = Stream(tmp_path, ROOMY)
    assert newest_ns(tmp_path, "show_locks") == 0
    stream.poll(3)
    assert stream.writer.path is not None
    with stream.writer.path.open("ab") as file:
        file.write(b'{"ts":"2099-01-01T00:00:00.000000000Z"')
    (stream.writer.path.parent / "show_locks-20261124T130000.000000Z-000002.jsonl").touch()

    assert newest_ns(tmp_path, "show_locks") == stream.clock.now_ns + 2 == stream.encoder.last_ns


def test_two_writers_in_the_same_microsecond_get_two_names(tmp_path: Path) -> None:
    """A writer that finds its name taken uses the next number."""
    clock = FakeClock()
    streams = [Stream(tmp_path, ROOMY, clock=clock) for _ in range(5)]
    for stream in streams:
        stream.poll(1)

    assert len({stream.writer.path for stream in streams}) == 5
    assert [path.name[-12:-6] for path in segments(tmp_path)] == [f"{number:06d}" for number in range(1, 6)]


def test_names_of_many_processes_differ(tmp_path: Path) -> None:
    """Real processes that start together get different names."""
    code = (
        "import sys, pathlib; from sqmon.config.settings import SegmentOptions; from sqmon.storage.segment_writer import SegmentWriter\n"
        "from sqmon.records.encoder import Encoder; from sqmon.clock import SystemClock\n"
        "for _ in range(20):\n"
        "  w = SegmentWriter(pathlib.Path(sys.argv[1]), 'm', SegmentOptions(fsync='never'), clock=SystemClock(),"
        " on_sealed=print, on_dropped=print)\n"
        "  [w.append(b) for b in Encoder('m', 'r').rows(('x',), [(1,)], poll=1, started_ns=0)]; w.close()\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.DEVNULL) for _ in range(4)]

    assert [process.wait() for process in processes] == [0] * 4
    assert len(segments(tmp_path)) == 80
    assert all(path.read_bytes().count(b"\n") == 1 for path in segments(tmp_path))


def test_current_leads_to_the_active_segment(tmp_path: Path) -> None:
    """The link in current/ leads to the active segment, and lies outside of what agents match."""
    stream = Stream(tmp_path, SegmentOptions(max_bytes=1))
    for _ in range(3):
        stream.poll(1)
        link = tmp_path / "current/show_locks"
        assert link.is_symlink()
        assert link.resolve() == stream.writer.path
    assert [path.name for path in (tmp_path / "current").iterdir()] == ["show_locks"]
    assert all(path.parent.name == "show_locks" for path in segments(tmp_path))


def test_current_goes_with_its_segment(tmp_path: Path) -> None:
    """A segment that was sealed or deleted has no link."""
    stream = Stream(tmp_path, ROOMY)
    link = tmp_path / "current/show_locks"
    stream.poll(1)
    assert stream.writer.path is not None
    stream.writer.path.unlink()
    stream.writer.tick()
    assert not link.is_symlink()
    stream.poll(1)
    assert link.resolve() == stream.writer.path
    other = Stream(tmp_path, ROOMY)
    other.poll(1)
    stream.writer.close()
    assert link.resolve() == other.writer.path
    other.writer.close()

    assert not link.is_symlink()


def test_current_that_cannot_be_made_is_no_failure(tmp_path: Path) -> None:
    """A link that can't be made stops nothing."""
    (tmp_path / "current").write_text("in the way")
    stream = Stream(tmp_path, ROOMY)
    stream.poll(1)

    assert (stream.writer.trouble, len(records(tmp_path))) == ("", 1)


def test_planted_link_is_not_followed(tmp_path: Path) -> None:
    """A link that somebody plants in the directory doesn't make the writer write elsewhere."""
    victim = tmp_path / "victim"
    directory = tmp_path / "logs/show_locks"
    directory.mkdir(parents=True)
    (directory / "show_locks-20261124T120000.000000Z-000001.jsonl").symlink_to(victim)
    stream = Stream(tmp_path / "logs", ROOMY)
    stream.poll(1)

    assert not victim.exists()
    assert stream.writer.path is not None
    assert stream.writer.path.name == "show_locks-20261124T120000.000001Z-000002.jsonl"


@pytest.mark.parametrize(
    "name",
    [
        "show_locks-20261124T120000.000000Z-1.jsonl",
        "show_locks-20261124T120000.000000Z-000001.jsonl.gz",
        "show_locks-20261324T120000.000000Z-000001.jsonl",
        "show_lock-20261124T120000.000000Z-000001.jsonl",
        "show_locks-20261124T120000.000000Z-00000\u0661.jsonl",
        "show_locks-20261124T120000.000000Z-000001.jsonl\n",
        "x-show_locks-20261124T120000.000000Z-000001.jsonl",
    ],
)
def test_other_names_are_not_segments(tmp_path: Path, name: str) -> None:
    """Files with other names are not taken for segments."""
    (tmp_path / name).touch()

    assert (parsed("show_locks", name), newest(tmp_path, "show_locks")) == (None, NO_SEGMENT)


@given(st.integers(0, 4 * 10**15), st.integers(0, 10**8))
def test_name_says_what_it_was_made_of(microseconds: int, number: int) -> None:
    """A name can be read back into its time and number."""
    name = SegmentName(number, microseconds)

    assert parsed("m", name.text("m")) == name


def test_full_disk_loses_nothing_while_the_buffer_suffices(tmp_path: Path) -> None:
    """On a full disk short writes are completed later, waiting lines follow in order, and the trouble is told in words."""
    with small_disk(tmp_path / "disk") as disk:
        stream = Stream(disk, ROOMY)
        stream.poll(10)
        filler = fill(disk)
        for _ in range(30):
            stream.poll(20)
            stream.clock.advance(1)
        waiting = stream.writer.pending

        assert re.fullmatch(r"show_locks: no space left on device \(\d+ KiB waiting\)", stream.writer.trouble)
        assert waiting > 0
        assert stream.writer.settled_seq < stream.encoder.seq

        filler.unlink()
        stream.writer.tick()

        assert (stream.writer.trouble, stream.writer.pending, stream.dropped) == ("", 0, [])
        assert len(segments(disk)) == 1
        stream.writer.close()
        assert_nothing_is_missing(stream)


def test_full_disk_drops_the_oldest_and_says_which(tmp_path: Path) -> None:
    """Beyond the buffer the oldest whole records are dropped and reported, and the line that is half in the file is completed."""
    with small_disk(tmp_path / "disk") as disk:
        stream = Stream(disk, SegmentOptions(buffer_bytes=20_000))
        stream.poll(10)
        filler = fill(disk)
        since_ns = stream.clock.time_ns()
        for _ in range(100):
            stream.poll(20)
            stream.clock.advance(1)
            assert stream.writer.pending < 21_000
        filler.unlink()
        stream.writer.tick()

        assert stream.writer.trouble == ""
        assert 2 < len(stream.dropped) < 15
        assert {gap.reason for gap in stream.dropped} == {"no space left on device"}
        assert all(since_ns == gap.since_ns < gap.until_ns <= stream.clock.time_ns() for gap in stream.dropped)
        stream.writer.close()
        assert_nothing_is_missing(stream)


def test_full_disk_at_close_is_reported(tmp_path: Path) -> None:
    """What could not be written before the close is reported."""
    with small_disk(tmp_path / "disk") as disk:
        stream = Stream(disk, ROOMY)
        stream.poll(10)
        fill(disk)
        for _ in range(10):
            stream.poll(20)
        stream.writer.close()

        assert stream.dropped[-1].last_seq == stream.encoder.seq
        assert stream.writer.trouble == ""
        assert_nothing_is_missing(stream)


def test_full_disk_from_the_start(tmp_path: Path) -> None:
    """A disk that is full from the start leaves no pile of empty segments."""
    with small_disk(tmp_path / "disk") as disk:
        filler = fill(disk)
        stream = Stream(disk, ROOMY)
        for _ in range(10):
            stream.poll(1)
            stream.writer.tick()
        filler.unlink()
        stream.writer.tick()
        stream.writer.close()

        assert len(segments(disk)) == 1
        assert_nothing_is_missing(stream)


def test_no_inodes_left(tmp_path: Path) -> None:
    """When no new segment can be made the active one grows beyond its size."""
    with small_disk(tmp_path / "disk", options=",nr_inodes=5") as disk:
        stream = Stream(disk, SegmentOptions(max_bytes=5_000))
        for _ in range(20):
            stream.poll(10)
        assert stream.writer.trouble == "show_locks: no new segment: no space left on device"
        assert (stream.writer.pending, stream.writer.settled_seq) == (0, 200)
        shutil.rmtree(disk / "current")
        stream.poll(1)
        assert stream.writer.trouble == ""
        stream.writer.close()
        assert_nothing_is_missing(stream)


def test_read_only_disk(tmp_path: Path) -> None:
    """On a read-only disk lines wait, and then continue in the same segment."""
    with small_disk(tmp_path / "disk") as disk:
        stream = Stream(disk, ROOMY)
        stream.poll(1)
        stream.writer.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        stream = Stream(disk, ROOMY)
        stream.poll(1)
        trouble = stream.writer.trouble
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        stream.writer.tick()
        stream.writer.close()

        assert trouble.startswith("show_locks: read-only file system (")
        assert_nothing_is_missing(stream)


def test_no_descriptors_left(tmp_path: Path) -> None:
    """When there are no descriptors left lines wait."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    stream = Stream(tmp_path, ROOMY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        stream.poll(1)
        trouble = stream.writer.trouble
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    stream.writer.tick()
    stream.writer.close()

    assert trouble.startswith("show_locks: too many open files (")
    assert_nothing_is_missing(stream)


def test_directory_that_cannot_be_synced_is_no_trouble() -> None:
    """A directory that can't be synced, as on CIFS, is no trouble."""
    sync_directory(Path("/proc"))


def test_file_size_limit(tmp_path: Path) -> None:
    """A segment that may not grow is left with half a line, which is whole in the next one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    stream = Stream(tmp_path, ROOMY)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        for _ in range(3):
            stream.poll(9)
            stream.writer.tick()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    stream.writer.close()

    assert [path.stat().st_size for path in segments(tmp_path)][:3] == [1000] * 3
    assert_nothing_is_missing(stream)


def test_directory_removed_under_our_feet(tmp_path: Path) -> None:
    """When the directory is removed its lines are reported, and writing continues in a new one."""
    stream = Stream(tmp_path / "logs", ROOMY)
    stream.poll(5)
    shutil.rmtree(tmp_path / "logs")
    stream.poll(3)
    stream.writer.close()

    assert stream.written_seqs() == [6, 7, 8]
    assert [(gap.first_seq, gap.last_seq) for gap in stream.dropped] == [(1, 5)]
    assert "was deleted by another process" in stream.dropped[0].reason
    assert_nothing_is_missing(stream)


def test_deleted_segment_with_a_hole_is_reported_without_the_hole(tmp_path: Path) -> None:
    """A record that was reported as dropped is not reported again when its segment is deleted."""
    with small_disk(tmp_path / "disk") as disk:
        stream = Stream(disk, SegmentOptions(buffer_bytes=3_000))
        stream.poll(5)
        filler = fill(disk)
        for _ in range(20):
            stream.poll(5)
        filler.unlink()
        stream.poll(5)
        assert stream.writer.path is not None
        stream.writer.path.unlink()
        stream.writer.close()

        assert_nothing_is_missing(stream)


def test_deleted_segment_is_noticed_by_tick(tmp_path: Path) -> None:
    """A deleted segment is noticed and reported without waiting for the next row."""
    stream = Stream(tmp_path, ROOMY)
    stream.poll(5)
    assert stream.writer.path is not None
    stream.writer.path.unlink()
    stream.writer.tick()

    assert stream.dropped_seqs() == [1, 2, 3, 4, 5]
    assert segments(tmp_path) == []


def test_truncated_segment_is_left(tmp_path: Path) -> None:
    """A segment that somebody truncated is left, since agents would read its new content from the middle."""
    stream = Stream(tmp_path, ROOMY)
    stream.poll(5)
    assert stream.writer.path is not None
    os.truncate(stream.writer.path, 0)
    stream.poll(3)
    stream.writer.close()

    assert "was truncated by another process" in stream.dropped[0].reason
    assert_nothing_is_missing(stream)


def test_segment_moved_away_is_left_whole(tmp_path: Path) -> None:
    """The lines of a segment that was moved away are not lost, and the next lines get a new one."""
    stream = Stream(tmp_path, ROOMY)
    stream.poll(5)
    assert stream.writer.path is not None
    stream.writer.path.rename(tmp_path / "elsewhere")
    stream.poll(3)

    assert ([seal.last_seq for seal in stream.sealed], stream.dropped, stream.written_seqs()) == ([5], [], [6, 7, 8])


def test_file_in_place_of_the_directory(tmp_path: Path) -> None:
    """While a file is in the place of the directory, lines wait."""
    (tmp_path / "show_locks").write_text("in the way")
    stream = Stream(tmp_path, ROOMY)
    stream.poll(1)
    trouble = stream.writer.trouble
    (tmp_path / "show_locks").unlink()
    stream.writer.tick()
    stream.writer.close()

    assert trouble.startswith("show_locks: ")
    assert_nothing_is_missing(stream)


def unreadable(directory: Path) -> Callable[[], None]:
    """Take away the rights to the directory; return how to give them back."""
    directory.chmod(0)
    return lambda: directory.chmod(0o750)


def test_directory_made_unreadable(shared_path: Path) -> None:
    """Without rights to the directory the open segment continues, and a new one waits."""
    shutil.chown(shared_path, NOBODY, NOBODY)
    with as_nobody():
        stream = Stream(shared_path / "logs", SegmentOptions(max_bytes=2_000))
        stream.poll(2)
        restore = unreadable(shared_path / "logs/show_locks")
        stream.poll(30)
        open_went_on = (stream.writer.trouble, stream.writer.pending)
        fresh = Stream(shared_path / "logs", ROOMY)
        fresh.poll(2)
        fresh_waits = fresh.writer.trouble
        restore()
        fresh.writer.tick()
        fresh.writer.close()
        stream.writer.close()

    assert open_went_on == ("show_locks: no new segment: permission denied", 0)
    assert fresh_waits.startswith("show_locks: permission denied (")
    assert_nothing_is_missing(stream)
    assert_nothing_is_missing(fresh)


def test_descriptor_closed_by_a_stranger(tmp_path: Path) -> None:
    """When a library closes the segment's descriptor, no record is lost."""
    stream = Stream(tmp_path, ROOMY)
    stream.poll(2)
    assert stream.writer.path is not None
    status = stream.writer.path.stat()
    for number in range(3, 4096):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(number), status):
                os.close(number)
    stream.poll(2)
    stream.writer.tick()

    assert [seal.last_seq for seal in stream.sealed] == [2]
    assert stream.written_seqs() == [1, 2, 3, 4]


def test_events_may_be_appended_from_the_reports(tmp_path: Path) -> None:
    """A stream can write about its own segments and losses."""
    with small_disk(tmp_path / "disk") as disk:
        stream = Stream(disk, SegmentOptions(max_bytes=2_000, buffer_bytes=5_000))
        count = 0

        def tell(report: object) -> None:
            nonlocal count
            count += 1
            (stream.dropped if "reason" in dir(report) else stream.sealed).append(report)  # type: ignore[arg-type]
            if count < 500:
                stream.writer.append(stream.encoder.event("info", "report", {}, now_ns=stream.clock.time_ns()))

        stream.writer._on_sealed = stream.writer._on_dropped = stream.writer._backlog._on_dropped = tell
        for _ in range(10):
            stream.poll(10)
        filler = fill(disk)
        for _ in range(30):
            stream.poll(10)
            stream.clock.advance(5)
        filler.unlink()
        stream.writer.tick()
        count = 500
        stream.writer.close()

        assert stream.dropped
        assert_nothing_is_missing(stream)


def fsyncs(code: str, path: Path) -> int:
    """Return how often a process called fsync, as it counts itself."""
    program = (
        "import os, sys; from pathlib import Path; from sqmon.config.settings import SegmentOptions\n"
        "from tests.support.segment_files import Stream\n"
        "count = 0\ndef fsync(fd, real=os.fsync):\n  global count; count += 1; real(fd)\n"
        f"os.fsync = fsync\n{code}\nprint(count)"
    )
    run = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.parametrize(("fsync", "expected"), [("never", 0), ("seal", 2), ("interval", 4)])
def test_fsync_as_often_as_asked(tmp_path: Path, fsync: str, expected: int) -> None:
    """fsync is called at the seal, for the file and its name, and every five seconds while there is something new."""
    code = (
        f"s = Stream(Path(sys.argv[1]), SegmentOptions(fsync={fsync!r}))\n"
        "for _ in range(2):\n  s.poll(1)\n  for _ in range(20): s.writer.tick(); s.clock.advance(1)\n"
        "s.poll(1); s.writer.close()"
    )

    assert fsyncs(code, tmp_path) == expected


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("poll"), st.integers(1, 40)),
            st.tuples(st.sampled_from(["fill", "free", "tick", "delete", "restart", "age", "back"]), st.just(0)),
        ),
        max_size=40,
    ),
    st.sampled_from([3_000, 30_000, 10**7]),
    st.sampled_from([4_000, 10**7]),
)
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_any_course_of_events_accounts_for_every_record(
    tmp_path_factory: pytest.TempPathFactory, course: list[tuple[str, int]], buffer_bytes: int, max_bytes: int
) -> None:
    """After any course of polls, full disks, deletions, restarts and clocks, each seq is in the files once or in one report."""
    options = SegmentOptions(max_bytes=max_bytes, buffer_bytes=buffer_bytes, fsync="never")
    with small_disk(tmp_path_factory.mktemp("disk"), size="256k") as disk:
        clock = FakeClock()
        streams = [Stream(disk, options, clock=clock)]

        def tick() -> None:
            streams[-1].writer.tick()

        def restart() -> None:
            streams[-1].writer.close()
            streams.append(Stream(disk, options, clock=clock))

        def delete() -> None:
            if streams[-1].writer.path:
                streams[-1].writer.path.unlink(missing_ok=True)

        actions: dict[str, Callable[[], object]] = {
            "fill": lambda: fill(disk),
            "free": lambda: (disk / "filler").unlink(missing_ok=True),
            "tick": tick,
            "age": lambda: clock.advance(24 * 3600),
            "back": lambda: clock.step(-5000),
            "delete": delete,
            "restart": restart,
        }
        for action, rows in course:
            clock.advance(1)
            if rows:
                streams[-1].poll(rows, "x" * (rows * 10))
            else:
                actions[action]()
        (disk / "filler").unlink(missing_ok=True)
        streams[-1].writer.tick()
        streams[-1].writer.close()
        for stream in streams:
            assert_nothing_is_missing(stream)
