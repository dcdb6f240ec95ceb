"""Segments that nobody has sealed, found by the next service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from sqmon.clock import SystemClock
from sqmon.config.settings import SegmentOptions, SegmentOutput
from sqmon.storage.reader import StreamReader
from sqmon.storage.seal import breaks, digest
from sqmon.storage.segment_names import all_segments
from sqmon.storage.streams import streams_of
from sqmon.storage.writer import Sealed
from sqmon.supervisor import sealer as sealer_module
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.sealer import Sealer
from tests.support.clocks import FakeClock
from tests.support.program import wait_until
from tests.support.segment_files import Stream

SMALL = SegmentOptions(max_bytes=20_000)


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers that end without a word are gone here at once."""
    monkeypatch.setattr(sealer_module, "_REST_SECONDS", 0.0)


class Directory:
    """A log directory and the services that come and go in it."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self._services = 0

    def service(self) -> tuple[EventStream, Sealer]:
        """Start the part of a service that deals with seals."""
        self._services += 1
        sealer = Sealer(self.log_dir, clock=SystemClock())
        events = EventStream(
            streams_of(SegmentOutput(self.log_dir, SMALL)), f"service-{self._services}", clock=SystemClock(), sealer=sealer
        )
        events.write("info", "start")
        sealer.start()
        return events, sealer

    def killed_run(self, rows: int = 500) -> Stream:
        """Leave what a worker has written that was killed."""
        stream = Stream(self.log_dir, SMALL, clock=FakeClock())
        for _ in range(rows // 100):
            stream.poll(100)
            stream.clock.advance(1)
        return stream

    def seals(self) -> list[dict[str, Any]]:
        """Return every seal that was told."""
        return [event for event in StreamReader(self.log_dir, "sqmon").read() if event["event"] == "segment_sealed"]

    def sealed(self) -> list[str]:
        """Return the files that have a seal."""
        return [seal["file"] for seal in self.seals()]

    def files(self) -> list[str]:
        """Return every file."""
        return [f"{stream}/{name}" for stream, names in all_segments(self.log_dir).items() for name in names]

    def run_until_sealed(self, files: list[str]) -> None:
        """Run a service until these files have a seal, and stop it."""
        events, _ = self.service()
        ticking_until(events, lambda: set(files) <= set(self.sealed()))
        events.close()


def ticking_until(events: EventStream, predicate: Callable[[], bool]) -> None:
    """Do what the loop of a service does until the predicate is true."""

    def turn() -> bool:
        events.tick()
        return predicate()

    wait_until(turn)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    """A log directory; what was sealed in it has one seal, which is right, and no chain is broken."""
    directory = Directory(tmp_path / "logs")
    yield directory
    assert len(directory.sealed()) == len(set(directory.sealed()))
    assert [] == list(breaks(directory.seals()))


def test_next_service_seals_what_has_no_seal(directory: Directory) -> None:
    """The next service seals what has no seal, oldest first, and leaves alone what its writer sealed and its own files."""
    events, sealer = directory.service()
    wait_until(lambda: sealer.heads is not None)
    events.tick()
    stream = directory.killed_run()
    for seal in stream.sealed:
        events.sealed(seal)
    events.close()
    files = directory.files()
    assert len(stream.sealed) == len(directory.sealed()) == len(files) - 2

    directory.run_until_sealed(files)

    assert sorted(files) == sorted(directory.sealed())
    assert len(files) + 1 == len(directory.files())


def test_sealing_goes_on_where_it_was_broken_off(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many services end in the middle of sealing, each file gets one seal."""
    monkeypatch.setattr(sealer_module, "_WAITING", 1)
    for number in range(4):
        directory.killed_run()
        events, _ = directory.service()
        ticking_until(events, lambda number=number: len(directory.sealed()) > number)  # type: ignore[misc]
        events.close()
    files = directory.files()
    assert len(directory.sealed()) < len(files)

    directory.run_until_sealed(files)

    assert sorted(files) == sorted(directory.sealed())
    locks = [file for file in directory.sealed() if file.startswith("show_locks/")]
    assert sorted(locks, key=lambda file: file.rpartition("-")[2]) == locks


def test_seals_wait_for_the_ones_before_them(directory: Directory) -> None:
    """A seal of a new worker is chained to the newest one of the services before."""
    directory.killed_run(100)
    directory.run_until_sealed(directory.files())
    events, sealer = directory.service()
    wait_until(lambda: sealer.heads)
    heads, sealer.heads = sealer.heads or {}, None
    events.sealed(Sealed("show_locks/show_locks-20991124T120000.000000Z-000002.jsonl", 1, 2, 3, 4, "ab"))
    events.tick()
    assert 1 == len(directory.sealed())

    sealer.heads = heads
    ticking_until(events, lambda: len(directory.sealed()) == 3)
    events.close()

    assert [None, heads["show_locks"]] == [seal["prev"] for seal in directory.seals() if seal["file"].startswith("show_locks/")]


def test_newest_seals_are_told_once_an_hour(directory: Directory) -> None:
    """Of every stream that has one, also when nothing has been sealed since."""
    clock = FakeClock()
    events = EventStream(streams_of(SegmentOutput(directory.log_dir, SegmentOptions())), "run", clock=clock)
    events.sealed(Sealed("show_locks/a", 1, 2, 3, 4, "ab"))
    for seconds in (0, 3599, 1, 3599, 1):
        clock.advance(seconds)
        events.tick()
    events.close()

    told = [event for event in StreamReader(directory.log_dir, "sqmon").read() if event["event"] == "chain_head"]
    assert [("show_locks", digest(directory.seals()[0]))] * 2 == [(event["target"], event["head"]) for event in told]


def test_only_the_run_that_was_killed_is_sealed(directory: Directory) -> None:
    """Only the unsealed segments of the run that was killed are sealed."""
    events, sealer = directory.service()
    wait_until(lambda: sealer.heads is not None)
    first, killed, last = (directory.killed_run() for _ in range(3))
    for sealed in killed.sealed:
        events.sealed(sealed)
    assert first.writer.path
    assert killed.writer.path
    assert last.writer.path
    expected = {seal.file for seal in killed.sealed} | {f"show_locks/{killed.writer.path.name}"}
    events.left("show_locks", killed.run_id)

    ticking_until(events, lambda: expected <= set(directory.sealed()))

    assert expected == set(directory.sealed())
    events.close()


def test_file_that_cannot_be_read_gets_no_seal(directory: Directory) -> None:
    """A file that can't be read gets no seal, and keeps no other from its own."""
    stream = directory.killed_run()
    *others, last = stream.log_dir.glob("*/*.jsonl")
    for path in ("show_locks/show_locks-20261124T000000.000000Z-000000.jsonl", "sqmon/sqmon-20261124T000000.000000Z-000001.jsonl"):
        (directory.log_dir / path).mkdir(parents=True)
    sealer = Sealer(directory.log_dir, clock=SystemClock())
    last.unlink()
    sealer.start()
    found: list[str] = []

    def all_found() -> bool:
        found.extend(sealed.file for sealed in sealer.take())
        return len(found) >= len(others)

    wait_until(all_found)
    sealer.close()
    (directory.log_dir / path).rmdir()

    assert sorted(f"show_locks/{path.name}" for path in others) == [*found, *(sealed.file for sealed in sealer.take())]


def test_writer_that_may_still_be_there_is_given_time(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was written to just now is not sealed before its worker must be gone."""
    monkeypatch.setattr(sealer_module, "_REST_SECONDS", 60.0)
    path = directory.killed_run(100).writer.path
    assert path
    events, sealer = directory.service()
    wait_until(lambda: sealer.heads is not None)
    events.tick()
    events.close()
    assert [] == directory.sealed()

    os.utime(path, ns=(0, path.stat().st_mtime_ns - 61 * 10**9))

    directory.run_until_sealed([str(path.relative_to(directory.log_dir))])
