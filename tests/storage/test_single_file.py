"""One file for many writers: whole lines, exact rotation, full disks, and others who move, delete or cut the file."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqmon.records.encoder import Encoder
from sqmon.storage.single_file import SingleFileWriter
from sqmon.storage.writer import Dropped
from tests.support import ROOT
from tests.support.clocks import FakeClock
from tests.support.refusing import UNSUPPORTED
from tests.support.segment_files import COLUMNS, fill, small_disk

WRITE = """
import sys, pathlib
from sqmon.clock import SystemClock
from sqmon.records.encoder import Encoder
from sqmon.storage.single_file import SingleFileWriter
metric, path, polls, rows, max_bytes, backups = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
clock = SystemClock()
writer = SingleFileWriter(pathlib.Path(path), clock=clock, on_dropped=print, max_bytes=max_bytes, backups=backups)
encoder = Encoder(metric, "r")
for poll in range(polls):
    for batch in encoder.rows(("x", "y"), [(n, "y" * (n % 50)) for n in range(rows)], poll=poll, started_ns=clock.time_ns()):
        writer.append(batch)
    writer.tick()
while writer.pending:
    writer.tick()
writer.close()
"""


class Worker:
    """One of the processes that share the file."""

    def __init__(self, path: Path, metric: str = "m", clock: FakeClock | None = None, **options: int) -> None:
        self.metric = metric
        self.clock = clock or FakeClock()
        self.encoder = Encoder(metric, "r")
        self.dropped: list[Dropped] = []
        self.writer = SingleFileWriter(path, clock=self.clock, on_dropped=self.dropped.append, **options)

    def poll(self, rows: int, text: str = "select 1") -> None:
        """Write `rows` records."""
        values = [(number, text, "sqream") for number in range(rows)]
        for batch in self.encoder.rows(COLUMNS, values, poll=1, started_ns=self.clock.time_ns()):
            self.writer.append(batch)

    def dropped_seqs(self) -> list[int]:
        """Return every seq that was reported as dropped."""
        return [seq for gap in self.dropped for seq in range(gap.first_seq, gap.last_seq + 1)]


def records(*paths: Path) -> list[dict[str, Any]]:
    """Return the records of the files, in which every line must be whole."""
    found: list[dict[str, Any]] = []
    for path in paths:
        lines = path.read_bytes().split(b"\n")
        assert lines.pop() == b""
        found += map(json.loads, lines)
    return found


def numbered(path: Path) -> list[Path]:
    """Return the file and its predecessors, oldest first."""
    found = sorted(path.parent.glob(f"{path.name}.[0-9]*"), key=lambda each: -int(each.suffix[1:]))
    return [*found, path] if path.exists() else found


def seqs(path: Path, metric: str = "m") -> list[int]:
    """Return the seq of one stream, in the order of the files."""
    return [record["seq"] for record in records(*numbered(path)) if record["metric"] == metric]


def test_lines_are_in_the_file_when_append_returns(tmp_path: Path) -> None:
    """The first line makes the file and its directory, and when append returns the lines are in it."""
    path = tmp_path / "logs/all.jsonl"
    worker = Worker(path)
    worker.writer.tick()
    assert not path.parent.exists()
    worker.poll(3)

    assert seqs(path) == [1, 2, 3]
    assert (worker.writer.settled_seq, worker.writer.pending, worker.writer.trouble, worker.writer.path) == (3, 0, "", path)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path)] == [0o750, 0o640]


def test_rotation_is_exact(tmp_path: Path) -> None:
    """No file exceeds its size or leaves room for another line, and the oldest beyond the backups is deleted."""
    path = tmp_path / "all.jsonl"
    worker = Worker(path, max_bytes=10_000, backups=3)
    for _ in range(20):
        worker.poll(20)
    files = numbered(path)

    assert [each.name for each in files] == ["all.jsonl.3", "all.jsonl.2", "all.jsonl.1", "all.jsonl"]
    assert all(9_700 < each.stat().st_size <= 10_000 for each in files[:-1])
    assert seqs(path) == list(range(seqs(path)[0], 401))


@pytest.mark.parametrize("backups", [-1, 0, 1, 7])
def test_number_of_backups(tmp_path: Path, backups: int) -> None:
    """As many old files are kept as asked for, including none."""
    path = tmp_path / "all.jsonl"
    worker = Worker(path, max_bytes=1_000, backups=backups)
    worker.poll(100)

    assert len(numbered(path)) == max(backups, 0) + 1
    assert seqs(path)[-1] == 100


def test_line_larger_than_the_file_may_be(tmp_path: Path) -> None:
    """A line larger than the file may be is written."""
    path = tmp_path / "all.jsonl"
    worker = Worker(path, max_bytes=10, backups=7)
    worker.poll(8)

    assert (len(numbered(path)), seqs(path)) == (8, list(range(1, 9)))


def test_four_processes_with_rotation_lose_nothing(tmp_path: Path) -> None:
    """Every line of four real processes is whole and in the files once, in order for each process."""
    path = tmp_path / "all.jsonl"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, f"m{number}", str(path), "100", "50", "100000", "1000"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        for number in range(4)
    ]
    outputs = [process.communicate()[0] for process in processes]
    found: dict[str, list[int]] = {}
    for record in records(*numbered(path)):
        found.setdefault(record["metric"], []).append(record["seq"])

    assert outputs == [b""] * 4
    assert found == {f"m{number}": list(range(1, 5001)) for number in range(4)}
    assert all(99_000 < each.stat().st_size <= 100_000 for each in numbered(path)[:-1])


def test_logrotate_moves_the_file_away(tmp_path: Path) -> None:
    """After logrotate moved the file every writer continues in the new one, whether logrotate makes it or not."""
    path = tmp_path / "all.jsonl"
    workers = [Worker(path, f"m{number}") for number in range(3)]
    for turn in range(4):
        for worker in workers:
            worker.poll(5)
        path.rename(tmp_path / f"all.jsonl-{turn}")
        if turn % 2:
            path.touch()
    for worker in workers:
        worker.poll(5)
    found = Counter((record["metric"], record["seq"]) for record in records(*tmp_path.glob("all.jsonl-*"), path))

    assert found == Counter((worker.metric, seq) for worker in workers for seq in range(1, 26))
    assert {record["seq"] for record in records(path)} == {21, 22, 23, 24, 25}


def test_logrotate_copies_and_truncates(tmp_path: Path) -> None:
    """After the file was truncated appending continues at its new end."""
    path = tmp_path / "all.jsonl"
    worker = Worker(path)
    worker.poll(5)
    os.truncate(path, 0)
    worker.poll(5)

    assert seqs(path) == [6, 7, 8, 9, 10]


def test_idle_worker_lets_go_of_a_deleted_file(tmp_path: Path) -> None:
    """A worker without lines to write closes a deleted file, so that its space is freed."""
    path = tmp_path / "all.jsonl"
    worker = Worker(path)
    worker.poll(1)
    path.unlink()
    worker.writer.tick()

    assert worker.writer.path is None
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(path) == os.path.realpath(link).replace(" (deleted)", "")]


def test_link_is_followed_once(tmp_path: Path) -> None:
    """A link stays, and rotation happens where it leads."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "all.jsonl").symlink_to(tmp_path / "disk/all.jsonl")
    worker = Worker(tmp_path / "all.jsonl", max_bytes=1_000)
    worker.poll(20)

    assert (tmp_path / "all.jsonl").is_symlink()
    assert seqs(tmp_path / "disk/all.jsonl") == list(range(1, 21))


def test_half_a_line_of_a_killed_process_is_cut_off(tmp_path: Path) -> None:
    """Half a line of a killed process is cut off before the next line."""
    path = tmp_path / "all.jsonl"
    worker = Worker(path)
    worker.poll(2)
    with path.open("ab") as file:
        file.write(b'{"ts":"2026-11-24T15:30:50.123456789Z","se')
    worker.poll(2)

    assert seqs(path) == [1, 2, 3, 4]


def test_line_of_a_stranger_is_ended(tmp_path: Path) -> None:
    """Text that isn't ours is ended with a newline, and never cut."""
    path = tmp_path / "all.jsonl"
    path.write_bytes(b"something else")
    Worker(path).poll(1)

    assert path.read_bytes().startswith(b'something else\n{"ts":')


def test_lock_that_is_held_makes_lines_wait(tmp_path: Path) -> None:
    """A stopped process that holds the lock doesn't stop the polls of the others."""
    path = tmp_path / "all.jsonl"
    worker = Worker(path)
    with (tmp_path / "all.jsonl.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        worker.poll(1)
        assert "all.jsonl.lock is held by another process" in worker.writer.trouble
    worker.writer.tick()

    assert (worker.writer.trouble, seqs(path)) == ("", [1])


def test_lock_that_is_removed_is_made_again(tmp_path: Path) -> None:
    """A lock file that was removed is made again, and all processes agree on the new one."""
    path = tmp_path / "all.jsonl"
    workers = [Worker(path, "a"), Worker(path, "b")]
    for _ in range(3):
        for worker in workers:
            worker.poll(1)
        (tmp_path / "all.jsonl.lock").unlink()

    assert [seqs(path, worker.metric) for worker in workers] == [[1, 2, 3], [1, 2, 3]]


def test_full_disk(tmp_path: Path) -> None:
    """On a full disk every record of two writers is in the file or reported, and neither breaks a line of the other."""
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "all.jsonl"
        workers = [Worker(path, "a", buffer_bytes=20_000), Worker(path, "b", buffer_bytes=20_000)]
        for worker in workers:
            worker.poll(10)
        for _ in range(3):
            filler = fill(disk)
            for _ in range(30):
                for worker in workers:
                    worker.poll(10)
                    worker.clock.advance(1)
            assert all(worker.writer.trouble for worker in workers)
            filler.unlink()
            for worker in [*workers, *workers]:
                worker.writer.tick()
        for worker in workers:
            worker.writer.close()

        assert all(worker.dropped for worker in workers)
        for worker in workers:
            assert sorted(seqs(path, worker.metric) + worker.dropped_seqs()) == list(range(1, 911))


REFUSED_TRUNCATION = """
import json, sys
from pathlib import Path
from tests.storage.test_single_file import Worker
from tests.support.refusing import TRUNCATE, refuse
from tests.support.segment_files import fill

refuse(*TRUNCATE)
path = Path(sys.argv[1])
workers = [Worker(path, "a", buffer_bytes=20_000), Worker(path, "b", buffer_bytes=20_000)]
for worker in workers:
    worker.poll(10)
filler = fill(path.parent)
for _ in range(30):
    for worker in workers:
        worker.poll(10)
filler.unlink()
for worker in workers:
    worker.poll(10)
    worker.writer.close()
print(json.dumps({worker.metric: worker.dropped_seqs() for worker in workers}))
"""


def test_file_that_cannot_be_cut_gets_no_line_twice(tmp_path: Path) -> None:
    """Where half a line can't be cut off, whole lines before it count as written, and those after it wait."""
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "all.jsonl"
        run = subprocess.run([sys.executable, "-c", REFUSED_TRUNCATION, str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
        if run.returncode == UNSUPPORTED:
            pytest.skip("no seccomp filter can be set here")
        *whole, half = path.read_bytes().split(b"\n")
        found = [(record["metric"], record["seq"]) for record in map(json.loads, whole)]
        dropped = [(metric, seq) for metric, given_up in json.loads(run.stdout).items() for seq in given_up]

        assert half
        assert sorted(found + dropped) == [(metric, seq) for metric in "ab" for seq in range(1, 321)]


def test_half_a_line_at_close_is_taken_back(tmp_path: Path) -> None:
    """If the disk stays full until the close, the file ends with a whole line, and the rest is reported."""
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "all.jsonl"
        worker = Worker(path)
        worker.poll(10)
        fill(disk)
        for _ in range(10):
            worker.poll(10)
        worker.writer.close()

        assert sorted(seqs(path) + worker.dropped_seqs()) == list(range(1, 111))


def test_descriptor_closed_by_a_stranger(tmp_path: Path) -> None:
    """When a library closes the descriptor the file is opened again."""
    path = tmp_path / "all.jsonl"
    worker = Worker(path)
    worker.poll(2)
    assert worker.writer._descriptor is not None
    os.close(worker.writer._descriptor)
    worker.poll(2)
    worker.writer.tick()

    assert seqs(path) == [1, 2, 3, 4]


def test_directory_in_place_of_the_file(tmp_path: Path) -> None:
    """While a directory is in the place of the file, lines wait."""
    path = tmp_path / "all.jsonl"
    path.mkdir()
    worker = Worker(path)
    worker.poll(1)
    trouble = worker.writer.trouble
    path.rmdir()
    worker.writer.tick()

    assert trouble.startswith("all.jsonl: is a directory (")
    assert seqs(path) == [1]


def test_killed_writers_leave_whole_lines(tmp_path: Path) -> None:
    """When processes that append large polls are killed, the lines of the others stay whole."""
    path = tmp_path / "all.jsonl"
    for number in range(6):
        arguments = [sys.executable, "-c", WRITE, f"m{number}", str(path), "100000", "500", "10000000", "100"]
        process = subprocess.Popen(arguments, cwd=ROOT)
        before = path.stat().st_size if path.exists() else 0
        while not path.exists() or path.stat().st_size <= before:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    Worker(path, "last").poll(1)
    found: dict[str, list[int]] = {}
    for record in records(*numbered(path)):
        found.setdefault(record["metric"], []).append(record["seq"])

    assert set(found) == {*(f"m{number}" for number in range(6)), "last"}
    assert all(each == list(range(1, len(each) + 1)) for each in found.values())


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 1), st.integers(1, 30)),
            st.tuples(st.integers(0, 1), st.sampled_from(["fill", "free", "tick", "move", "restart"])),
        ),
        max_size=40,
    ),
    st.sampled_from([3_000, 30_000]),
    st.sampled_from([5_000, 10**7]),
)
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_any_course_of_events_accounts_for_every_record(
    tmp_path_factory: pytest.TempPathFactory, course: list[tuple[int, int | str]], buffer_bytes: int, max_bytes: int
) -> None:
    """After any course of full disks, moves and restarts, each record of two writers is in the files once or reported once."""
    with small_disk(tmp_path_factory.mktemp("disk"), size="256k") as disk:
        path = disk / "all.jsonl"
        moved: list[Path] = []
        made = 0
        dropped: list[tuple[str, int]] = []
        written: list[tuple[str, int]] = []

        def worker() -> Worker:
            nonlocal made
            made += 1
            return Worker(path, f"m{made}", max_bytes=max_bytes, backups=1000, buffer_bytes=buffer_bytes)

        def leave(number: int) -> None:
            gone = workers[number]
            gone.writer.close()
            dropped.extend((gone.metric, seq) for seq in gone.dropped_seqs())
            written.extend((gone.metric, seq) for seq in range(1, gone.encoder.seq + 1))

        def restart(number: int) -> None:
            leave(number)
            workers[number] = worker()

        def move(_: int) -> None:
            if path.exists():
                moved.append(disk / f"moved-{len(moved)}")
                path.rename(moved[-1])

        workers = [worker(), worker()]
        actions: dict[str, Callable[[int], object]] = {
            "fill": lambda _: fill(disk),
            "free": lambda _: (disk / "filler").unlink(missing_ok=True),
            "tick": lambda number: workers[number].writer.tick(),
            "move": move,
            "restart": restart,
        }
        for number, action in course:
            if isinstance(action, int):
                workers[number].poll(action, "x" * (action * 10))
            else:
                actions[action](number)
        (disk / "filler").unlink(missing_ok=True)
        for number in (0, 1, 0):
            workers[number].writer.tick()
        leave(0)
        leave(1)
        found = [(record["metric"], record["seq"]) for record in records(*moved, *numbered(path))]

        assert sorted(found + dropped) == sorted(written)
