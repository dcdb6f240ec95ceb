"""Every damage to the files of a service is found and named, and what the service has told of is none."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Callable, Optional

import pytest

from sqmon.clock import SystemClock
from sqmon.config.settings import SegmentOptions, SegmentOutput
from sqmon.delivery.testimony import untold
from sqmon.delivery.verify import Problem, Verdict, verify
from sqmon.errors import SqmonError
from sqmon.storage.compression import Source, compress
from sqmon.storage.knowledge import Knowledge
from sqmon.storage.recount import recounted
from sqmon.storage.seal import digest
from sqmon.storage.segment_names import archive_of
from sqmon.storage.streams import streams_of
from sqmon.storage.writer import Dropped
from sqmon.supervisor import sealer as sealer_module
from sqmon.supervisor.event_fields import dropped_fields
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.sealer import Sealer
from tests.support.clocks import FakeClock
from tests.support.program import wait_until
from tests.support.segment_files import Stream

SMALL = SegmentOptions(max_bytes=20_000)
METRICS = ("show_locks", "show_cluster_nodes")


class History:
    """Services that write what a service writes: records of two metrics, the events of their polls, seals."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self._clock = FakeClock()
        self._services = 0
        self._events: Optional[EventStream] = None

    @property
    def events(self) -> EventStream:
        """The events of the service that runs."""
        assert self._events is not None
        return self._events

    def start(self) -> None:
        """Start a service, and have it seal what has no seal."""
        self._services += 1
        there = [str(path.relative_to(self.log_dir)) for path in self.log_dir.glob("*/*.jsonl")]
        sealer = Sealer(self.log_dir, clock=SystemClock())
        streams = streams_of(SegmentOutput(self.log_dir, SMALL))
        self._events = EventStream(streams, f"20261124T12000{self._services}Z-ffff", clock=SystemClock(), sealer=sealer)
        self.events.write("info", "start")
        sealer.start()

        def ready() -> bool:
            self.events.tick()
            return sealer.heads is not None and set(there) <= sealed_files(self.log_dir)

        wait_until(ready)

    def work(self, *, polls: int = 5, killed: bool = False) -> list[Stream]:
        """Let a worker of each metric poll; it is stopped at the end, or killed."""
        workers = [Stream(self.log_dir, SMALL, metric=metric, clock=self._clock) for metric in METRICS]
        for number in range(polls):
            for metric, worker in zip(METRICS, workers):
                first = worker.encoder.seq + 1
                worker.poll(40, text=f"select {number}")
                self.event_of_poll(metric, worker, first)
            self._clock.advance(1)
        for worker in workers:
            if not killed:
                worker.writer.close()
            for sealed in worker.sealed:
                self.events.sealed(sealed)
        wait_until(lambda: {sealed.file for worker in workers for sealed in worker.sealed} <= sealed_files(self.log_dir))
        return workers

    def event_of_poll(self, metric: str, worker: Stream, first: int) -> None:
        """Write what the supervisor writes when a poll's rows are in the file."""
        seqs = {"first_seq": first, "last_seq": worker.encoder.seq}
        self.events.write("info", "poll", target=metric, target_run_id=worker.run_id, status="ok", **seqs, error=None)

    def stop(self) -> None:
        """Stop the service."""
        self.events.tick()
        self.events.close()


def sealed_files(log_dir: Path) -> set[str]:
    """Return the files that have a seal."""
    lines = (line for path in log_dir.glob("sqmon/*.jsonl") for line in path.read_bytes().split(b"\n")[:-1])
    return {event["file"] for event in map(json.loads, lines) if event["event"] == "segment_sealed"}


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """A directory in which no service has run yet."""
    monkeypatch.setattr(sealer_module, "_REST_SECONDS", 0.0)
    return History(tmp_path / "logs")


def whole(history: History) -> None:
    """Let three services run, one of which is killed."""
    for killed in (False, True, False):
        history.start()
        for _ in range(2):
            history.work(killed=killed)
        history.stop()


def problems(verdict: Verdict) -> set[tuple[str, str, int, int]]:
    """Return kind, file and seq of each problem."""
    return {(problem.kind, problem.file, problem.first_seq, problem.last_seq) for problem in verdict.problems}


def test_what_services_have_written_is_proved(history: History) -> None:
    """After stops and kills, while a service runs, and with half a line where a worker was killed."""
    whole(history)
    assert [] == verify(history.log_dir).problems

    history.start()
    killed, _ = history.work(killed=True)
    assert killed.writer.path
    with killed.writer.path.open("ab") as file:
        file.write(b'{"ts":"')
    verdict = verify(history.log_dir)
    locks = verdict.streams[1]

    assert (True, []) == (verdict.proved, verdict.problems)
    assert ["show_cluster_nodes", "show_locks", "sqmon"] == [each.stream for each in verdict.streams]
    assert ("show_locks", 7 * 200, [f"show_locks/{killed.writer.path.name}"], 7) == (
        locks.stream,
        locks.lines,
        locks.unsealed,
        locks.torn_bytes,
    )
    history.stop()


def flip(data: bytes, dice: random.Random) -> bytes:
    """Change one bit."""
    place = dice.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :]


def cut(data: bytes, dice: random.Random) -> bytes:
    """Cut the end off."""
    return data[: dice.randrange(len(data))]


def append(data: bytes, dice: random.Random) -> bytes:
    """Add bytes, or a line that is there already."""
    return data + dice.choice([b"x", b"\n", data[data.rfind(b"\n", 0, -1) + 1 :], data[: data.index(b"\n") + 1]])


def drop_line(data: bytes, dice: random.Random) -> bytes:
    """Take a line out."""
    lines = data.splitlines(keepends=True)
    del lines[dice.randrange(len(lines))]
    return b"".join(lines)


def swap_lines(data: bytes, dice: random.Random) -> bytes:
    """Let two lines change places."""
    lines = data.splitlines(keepends=True)
    place = dice.randrange(len(lines) - 1)
    lines[place : place + 2] = lines[place + 1], lines[place]
    return b"".join(lines)


@pytest.mark.parametrize("damage", [flip, cut, append, drop_line, swap_lines])
def test_every_damage_to_a_sealed_file_is_found(history: History, damage: Callable[[bytes, random.Random], bytes]) -> None:
    """In whatever file it is, the seal of that file names it."""
    whole(history)
    dice = random.Random(f"{damage.__name__} 17")
    files = sorted(sealed_files(history.log_dir))
    for _ in range(60):
        file = dice.choice(files)
        path = history.log_dir / file
        before = path.read_bytes()
        path.write_bytes(damage(before, dice))

        found = verify(history.log_dir)

        assert not found.proved
        assert any(problem.kind in ("altered", "missing") and problem.file == file for problem in found.problems), (file, found.problems)
        path.write_bytes(before)
    assert verify(history.log_dir).proved


def test_file_that_is_gone_or_another_is_found(history: History) -> None:
    """Removed, or changed with another of its stream: named, with the seq that it held."""
    whole(history)
    files = sorted(sealed_files(history.log_dir) - {str(path.relative_to(history.log_dir)) for path in history.log_dir.glob("sqmon/*")})
    for one, other in zip(files, files[1:]):
        path, seal = history.log_dir / one, json.loads(seal_line(history.log_dir, one))
        shutil.move(path, history.log_dir / "kept")

        assert {("missing", one, seal["first_seq"], seal["last_seq"])} == problems(verify(history.log_dir))

        shutil.copy(history.log_dir / other, path)

        assert ("altered", one, seal["first_seq"], seal["last_seq"]) in problems(verify(history.log_dir))

        shutil.move(history.log_dir / "kept", path)


def seal_line(log_dir: Path, file: str) -> bytes:
    """Return the event of a file's seal."""
    lines = [line for path in log_dir.glob("sqmon/*.jsonl") for line in path.read_bytes().split(b"\n")]
    return next(line for line in lines if b"segment_sealed" in line and file.encode() in line)


def test_seal_that_was_forged_breaks_the_chain(history: History) -> None:
    """Who alters a file, its seal, and the seal of the segment with that seal, is betrayed by the next seal of the stream."""
    whole(history)
    file = min(file for file in sealed_files(history.log_dir) if file.startswith("show_locks/"))
    line = seal_line(history.log_dir, file)
    for path in history.log_dir.glob("sqmon/*.jsonl"):
        path.write_bytes(path.read_bytes().replace(line, line.replace(b'"lines":', b'"lines":1')))

    kinds = {(problem.kind, problem.file.split("/")[0]) for problem in verify(history.log_dir).problems}

    assert {("chain", "show_locks"), ("altered", "show_locks"), ("altered", "sqmon")} == kinds


def test_head_betrays_that_the_newest_seal_was_removed(history: History) -> None:
    """Its file, its event, and the proof of the segment with that event are gone: what was said of it later is still there."""
    history.start()
    history.work()
    file = max(file for file in sealed_files(history.log_dir) if file.startswith("show_locks/"))
    before = max(other for other in sealed_files(history.log_dir) if other.startswith("show_locks/") and other != file)
    line = seal_line(history.log_dir, file)
    history.events.write("info", "chain_head", target="show_locks", head=digest(json.loads(line)))
    history.stop()
    assert verify(history.log_dir).proved
    (history.log_dir / file).unlink()
    for path in history.log_dir.glob("sqmon/*.jsonl"):
        path.write_bytes(path.read_bytes().replace(line + b"\n", b""))

    assert ("chain", before) in {(problem.kind, problem.file) for problem in verify(history.log_dir).problems}


def test_seal_that_is_no_text_is_no_seal(history: History) -> None:
    """An event with a byte that no text may have, in a value that nobody looks at, is broken, and its seq is missing."""
    whole(history)
    file = min(file for file in sealed_files(history.log_dir) if file.startswith("show_locks/"))
    line = seal_line(history.log_dir, file)
    for path in history.log_dir.glob("sqmon/*.jsonl"):
        path.write_bytes(path.read_bytes().replace(line, line.replace(b'"info"', b'"in\xf3o"')))

    kinds = {(problem.kind, problem.file.split("/")[0]) for problem in verify(history.log_dir).problems}

    assert {("altered", "sqmon"), ("broken", "sqmon"), ("hole", "sqmon")} == kinds


def test_unsealed_file_is_held_against_the_events(history: History) -> None:
    """What polls have written and is cut off is named exactly, and so is a line that is broken, there twice, or in the wrong place."""
    history.start()
    worker, _ = history.work(polls=1, killed=True)
    history.stop()
    path = worker.writer.path
    assert path
    name, data = f"show_locks/{path.name}", path.read_bytes()
    lines = data.splitlines(keepends=True)

    for changed, expected in (
        (data, set()),
        (b"".join(lines[:30]), {("unwritten", name, 31, 40)}),
        (data[:-9], {("unwritten", name, 40, 40)}),
        (b"".join([*lines[:10], *lines[12:]]), {("hole", name, 11, 12)}),
        (b"".join([*lines[:10], b"x\n", *lines[11:]]), {("broken", name, 10, 10), ("hole", name, 11, 11)}),
        (data + lines[4], {("repeated", name, 5, 5), ("backwards", name, 5, 5)}),
        (b"".join([lines[1], lines[0], *lines[2:]]), None),
    ):
        path.write_bytes(changed)
        found = problems(verify(history.log_dir))
        assert found == expected if expected is not None else {"backwards", "repeated"} <= {kind for kind, *_ in found}

    path.unlink()
    assert {("unwritten", "show_locks", 1, 40)} == problems(verify(history.log_dir))


def test_deleted_segment_that_had_no_seal_explains_any_hole(history: History) -> None:
    """Nobody can say what was in it; the event of its deletion says that it is gone."""
    history.start()
    worker, _ = history.work(polls=1, killed=True)
    assert worker.writer.path
    history.events.write("info", "segment_deleted", file=f"show_locks/{worker.writer.path.name}", bytes=0, reason="size")
    history.stop()
    worker.writer.path.unlink()

    assert [] == verify(history.log_dir).problems


def test_what_the_service_has_told_of_is_no_problem(history: History) -> None:
    """Files that retention has deleted, records that were dropped, and seals that were lost with their events."""
    whole(history)
    history.start()
    worker, _ = history.work(polls=2, killed=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker.writer, "append", lambda _: None)
        worker.poll(10)
    worker.poll(3)
    assert worker.writer.path
    assert {("hole", f"show_locks/{worker.writer.path.name}", 81, 90)} == problems(verify(history.log_dir))

    history.events.write("error", "gap", **dropped_fields("show_locks", worker.run_id, Dropped("no space left on device", 0, 0, 81, 90)))
    for file in sorted(sealed_files(history.log_dir))[1::3]:
        history.events.write("info", "segment_deleted", file=file, bytes=0, reason="size")
        (history.log_dir / file).unlink()
    history.stop()

    verdict = verify(history.log_dir)
    assert [] == verdict.problems
    assert 10 == next(each.lost for each in verdict.streams if each.stream == "show_locks")


def test_directory_without_segments_is_an_error(tmp_path: Path) -> None:
    """It proves nothing, and neither does one that is not there."""
    with pytest.raises(SqmonError, match="no segments here"):
        verify(tmp_path)
    with pytest.raises(SqmonError, match="can't be read: no such file or directory"):
        verify(tmp_path / "absent")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_file_that_cannot_be_read_is_named(history: History) -> None:
    """The others are judged all the same."""
    whole(history)
    file = min(sealed_files(history.log_dir))
    (history.log_dir / file).chmod(0)

    assert [Problem("unreadable", file, "", 0, 0, "permission denied")] == verify(history.log_dir).problems


def test_pipe_in_the_place_of_a_file_holds_nothing_up(history: History) -> None:
    """It is not the file, which is missing."""
    whole(history)
    file = min(sealed_files(history.log_dir))
    (history.log_dir / file).unlink()
    os.mkfifo(history.log_dir / file)

    assert [("missing", file)] == [(problem.kind, problem.file) for problem in verify(history.log_dir).problems]


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ([], [(5, 9)]),
        ([(1, 4), (10, 12)], [(5, 9)]),
        ([(1, 20)], []),
        ([(7, 7)], [(5, 6), (8, 9)]),
        ([(8, 30), (5, 5), (1, 2)], [(6, 7)]),
        ([(5, 6), (6, 9)], []),
    ],
)
def test_what_no_range_covers_is_untold(told: list[tuple[int, int]], left: list[tuple[int, int]]) -> None:
    """Ranges may overlap and come in any order."""
    assert left == untold(5, 9, told)


def test_archives_are_held_against_the_seals(history: History) -> None:
    """What is compressed is proved as before; an archive that is broken, gone, or has other lines is named."""
    whole(history)
    before = verify(history.log_dir)
    files = sorted(sealed_files(history.log_dir))
    for file in files:
        seal = recounted(history.log_dir, file)
        compress(history.log_dir, Source(file, seal.bytes, seal.sha256, Knowledge.READ, 0, None), lambda: None)

    assert before == verify(history.log_dir)

    broken, gone, other = [file for file in files if file.startswith("show_cluster_nodes/")][:3]
    paths = [archive_of(history.log_dir / file) for file in (broken, gone, other)]
    data = paths[0].read_bytes()
    paths[0].write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    paths[2].write_bytes(paths[1].read_bytes())
    paths[1].unlink()

    found = {(problem.kind, problem.file) for problem in verify(history.log_dir).problems}

    assert {("unreadable", broken), ("missing", gone), ("altered", other)} <= found
