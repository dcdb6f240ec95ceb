"""Segments are compressed beside the service: by a process that disturbs nobody, may be killed at any time, and is started again."""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import signal
import time
from pathlib import Path
from typing import Callable, Iterator, Optional

import pytest

from sqmon.clock import SystemClock
from sqmon.config.settings import SegmentOptions, SegmentOutput
from sqmon.delivery.verify import verify
from sqmon.simulator import Simulator
from sqmon.storage.compression import Source
from sqmon.storage.reader import StreamReader
from sqmon.storage.reader import segments as stored_segments
from sqmon.storage.retention import RetentionLimits, to_compress
from sqmon.storage.segment_names import archive_of
from sqmon.storage.streams import streams_of
from sqmon.supervisor import sealer as sealer_module
from sqmon.supervisor.archivist import Archivist, Places
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.forkserver import Forkserver
from sqmon.supervisor.sealer import Sealer
from tests.support.clocks import FakeClock
from tests.support.program import Service, ended, service, session_processes, wait_until
from tests.support.segment_files import Stream, fill, segments, small_disk

SMALL = SegmentOptions(max_bytes=20_000)
METRICS = {"show_locks": 0.1, "get_license_info": 0.3}
OPTIONS = ("--segment_mb", "0.01", "--retention_mb", "64")


class Bench:
    """An archivist with real processes in a directory of many sealed segments, on a clock that is moved by hand."""

    def __init__(self, log_dir: Path, rows: int, places: Optional[Places] = None) -> None:
        self.log_dir = log_dir
        self.clock = FakeClock()
        self.selector = selectors.DefaultSelector()
        self.forkserver = Forkserver(self.selector, clock=self.clock, on_lost=lambda _: None)
        self.events = EventStream(streams_of(SegmentOutput(log_dir, SegmentOptions())), "service", clock=SystemClock())
        stream = Stream(log_dir, SMALL)
        for _ in range(rows // 100):
            stream.poll(100)
            stream.clock.advance(1)
        stream.writer.close()
        for sealed in stream.sealed:
            self.events.sealed(sealed)
        self.paths = stored_segments(log_dir, "show_locks")
        self.archivist = Archivist(
            log_dir, self.events, forkserver=self.forkserver, selector=self.selector, clock=self.clock, places=places
        )

    def due(self) -> list[Source]:
        """Return the order for everything that is to be compressed in file-only mode."""
        found = to_compress(
            self.log_dir,
            RetentionLimits(),
            active=(),
            now_ns=time.time_ns(),
            positions=None,
            compressible=self.archivist.takes,
            after_s=0,
        )
        return self.archivist.sources(found)

    def turn(self) -> None:
        """Do what the loop of the service does."""
        for key, _ in self.selector.select(0):
            key.data()
        self.forkserver.look_after(self.clock.monotonic())
        self.archivist.look(self.clock.monotonic())
        self.events.tick()

    def until(self, predicate: Callable[[], object]) -> None:
        """Turn until the predicate is true."""

        def turn() -> object:
            self.turn()
            return predicate()

        wait_until(turn)

    def told(self, event: str) -> list[dict[str, object]]:
        """Return the events of one kind."""
        return [each for each in StreamReader(self.log_dir, "sqmon").read() if each["event"] == event]

    def archivers(self) -> list[int]:
        """Return the archivers that live."""
        return [pid for pid in session_processes(os.getsid(0)) if is_archiver(pid)]

    def close(self) -> None:
        """End everything."""
        self.archivist.close()
        self.forkserver.close()
        self.events.close()


def is_archiver(pid: int) -> bool:
    """Whether the process yields to all others, which of ours only the archiver does."""
    with contextlib.suppress(OSError):
        return os.sched_getscheduler(pid) == os.SCHED_IDLE and os.getpriority(os.PRIO_PROCESS, pid) == 19
    return False


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench with some dozens of segments."""
    bench = Bench(tmp_path / "logs", rows=8_000)
    yield bench
    bench.close()


def test_segments_are_compressed_and_told(bench: Bench) -> None:
    """Each segment becomes an archive, an event says so, and the process is gone afterwards."""
    sizes = {path.name: path.stat().st_size for path in bench.paths}
    bench.archivist.offer(bench.due())
    bench.until(bench.archivers)
    bench.until(lambda: len(bench.told("segment_archived")) == len(bench.paths) and not bench.archivers())
    told = bench.told("segment_archived")

    assert [(f"show_locks/{path.name}", f"archive/show_locks/{path.name}.zst") for path in bench.paths] == [
        (event["file"], event["archive"]) for event in told
    ]
    assert list(sizes.values()) == [event["bytes"] for event in told]
    assert [archive_of(path).stat().st_size for path in bench.paths] == [event["compressed_bytes"] for event in told]
    assert [] == bench.due()
    assert [] == bench.told("archive_failed")


def test_archivers_of_many_directories_take_turns(tmp_path: Path) -> None:
    """With one place for two directories the second is not compressed before the first one is done, whatever it is offered."""
    places = Places(1)
    with contextlib.closing(Bench(tmp_path / "one", 400, places)) as one, contextlib.closing(Bench(tmp_path / "two", 400, places)) as two:
        one.archivist.offer(one.due())
        two.archivist.offer(two.due())
        one.until(lambda: len(one.told("segment_archived")) == len(one.paths))
        two.turn()
        assert two.told("segment_archived") == []

        def offered() -> bool:
            one.turn()
            two.archivist.offer(two.due())
            return len(two.told("segment_archived")) == len(two.paths)

        two.until(offered)


def test_killed_archiver_is_told_and_followed_by_another(bench: Bench) -> None:
    """An archiver that was killed is told once; the next one, which waits a while, goes on, and nothing is lost."""
    expected = list(StreamReader(bench.log_dir, "show_locks").read())
    bench.archivist.offer(bench.due())
    bench.until(bench.archivers)
    (pid,) = bench.archivers()
    os.kill(pid, signal.SIGKILL)
    bench.until(lambda: bench.told("archive_failed"))
    bench.archivist.offer(bench.due())
    bench.turn()

    assert (True, []) == (bench.archivist.failing, bench.archivers())
    assert ["the archiver killed by SIGKILL (out of memory?)"] == [event["reason"] for event in bench.told("archive_failed")]

    bench.clock.advance(11)
    bench.archivist.offer(bench.due())
    bench.until(lambda: not bench.due())

    assert expected == list(StreamReader(bench.log_dir, "show_locks").read())
    assert not bench.archivist.failing


def test_archiver_that_hangs_is_killed(bench: Bench) -> None:
    """An archiver that says nothing for two minutes is killed, and the reason is told."""
    bench.archivist.offer(bench.due())
    bench.until(bench.archivers)
    (pid,) = bench.archivers()
    os.kill(pid, signal.SIGSTOP)
    bench.turn()
    bench.clock.advance(121)
    bench.until(lambda: bench.told("archive_failed"))

    assert ["the archiver said nothing for 120 s, killed"] == [event["reason"] for event in bench.told("archive_failed")]
    assert [] == bench.archivers()


def test_stop_waits_for_no_archiver(bench: Bench) -> None:
    """Closing kills an archiver at once, whatever it is in the middle of."""
    bench.archivist.offer(bench.due())
    bench.until(bench.archivers)
    began = time.monotonic()
    bench.archivist.close()

    assert time.monotonic() - began < 0.5
    wait_until(lambda: not bench.archivers())


def test_full_disk_is_told_and_tried_again(tmp_path: Path) -> None:
    """On a full disk every segment stays, one event says why, and with room again all are compressed."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        bench = Bench(disk, rows=2000)
        try:
            filler = fill(disk)
            bench.archivist.offer(bench.due())
            bench.until(lambda: bench.archivist.failing)
            bench.until(lambda: not bench.archivers())

            assert all(path.exists() for path in bench.paths)

            filler.unlink()

            def archived() -> bool:
                # As the sweeper does: again and again, whatever has become of the attempt before.
                bench.clock.advance(11)
                bench.archivist.offer(bench.due())
                return len(bench.told("segment_archived")) == len(bench.paths)

            bench.until(archived)

            assert {"no space left on device"} == {event["reason"] for event in bench.told("archive_failed")}
        finally:
            bench.close()


def test_segment_that_was_altered_is_told_once_and_left(bench: Bench) -> None:
    """A segment that is not what was sealed is told and not tried again; the others are compressed."""
    with bench.paths[3].open("r+b") as file:
        file.write(b"X")
    bench.archivist.offer(bench.due())
    bench.until(lambda: len(bench.told("segment_archived")) == len(bench.paths) - 1)

    assert [(f"show_locks/{bench.paths[3].name}", "it is not what was sealed")] == [
        (event["file"], event["reason"]) for event in bench.told("archive_failed")
    ]
    assert (True, []) == (bench.paths[3].exists(), bench.due())


def ticking_until(events: EventStream, predicate: Callable[[], bool]) -> None:
    """Do what the loop of a service does until the predicate is true."""

    def turn() -> bool:
        events.tick()
        return predicate()

    wait_until(turn)


def test_next_service_goes_on_with_seals_that_were_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every segment of earlier services compressed, the next start gives no second seal and breaks no chain."""
    monkeypatch.setattr(sealer_module, "_REST_SECONDS", 0.0)
    log_dir = tmp_path / "logs"
    for number in range(4):
        earlier = segments(log_dir)
        sealer = Sealer(log_dir, clock=SystemClock())
        events = EventStream(streams_of(SegmentOutput(log_dir, SMALL)), f"service-{number}", clock=SystemClock(), sealer=sealer)
        forkserver = Forkserver(selectors.DefaultSelector(), clock=SystemClock(), on_lost=lambda _: None)
        archivist = Archivist(log_dir, events, forkserver=forkserver, selector=selectors.DefaultSelector(), clock=SystemClock())
        events.write("info", "start")
        sealer.start()
        ticking_until(events, lambda: all(archivist.takes(f"{path.parent.name}/{path.name}") for path in earlier))  # noqa: B023
        found = to_compress(
            log_dir, RetentionLimits(), active=(), now_ns=time.time_ns(), positions=None, compressible=archivist.takes, after_s=0
        )
        archivist.offer(archivist.sources(found))

        def compressed() -> bool:
            forkserver.look_after(0.0)  # noqa: B023
            archivist.look(0.0)  # noqa: B023
            return not any(path.exists() for path in earlier)  # noqa: B023

        ticking_until(events, compressed)
        stream = Stream(log_dir, SMALL)
        stream.poll(300)
        stream.writer.close()
        for sealed in stream.sealed:
            events.sealed(sealed)
        archivist.close()
        forkserver.close()
        events.close()
    verdict = verify(log_dir)

    assert [] == verdict.problems
    seals = [event["file"] for event in StreamReader(log_dir, "sqmon").read() if event["event"] == "segment_sealed"]
    assert len(seals) == len(set(seals))
    assert len(list(log_dir.glob("archive/sqmon/*"))) >= 3


def maps_zstandard(pid: int) -> bool:
    """Whether the process has loaded zstandard."""
    return b"zstandard" in Path(f"/proc/{pid}/maps").read_bytes()


def test_service_compresses_at_once_without_an_agent(tmp_path: Path) -> None:
    """In file-only mode sealed segments are compressed at once, and neither the supervisor nor a worker loads zstandard for that."""
    log_dir = tmp_path / "logs"
    with Simulator(rows_locks=100) as simulator:
        with service(simulator.port, log_dir, "--log_file_path", f"{log_dir}/", *OPTIONS, metrics=METRICS) as running:
            event = running.wait_for("segment_archived")
            running.wait_for_polls(*METRICS)
            carriers = [pid for pid in session_processes(running.pid) if not is_archiver(pid) and maps_zstandard(pid)]

            assert running.end() == 0
        with service(simulator.port, log_dir, "--log_file_path", f"{log_dir}/", *OPTIONS, metrics=METRICS) as running:
            running.wait_for("segment_archived")
            gaps = running.events("gap", target="show_locks")

            assert running.end() == 0

    assert [] == carriers
    assert (log_dir / event["archive"]).stat().st_size == event["compressed_bytes"] < event["bytes"]
    assert not (log_dir / event["file"]).exists()
    assert ["stopped"] == [gap["reason"] for gap in gaps]
    assert [] == verify(log_dir).problems


def test_nothing_is_compressed_without_being_wanted(tmp_path: Path) -> None:
    """With --compress never, segments stay as they are."""
    log_dir = tmp_path / "logs"
    options = ("--log_file_path", f"{log_dir}/", "--compress", "never", *OPTIONS)
    with Simulator(rows_locks=100) as simulator, service(simulator.port, log_dir, *options, metrics=METRICS) as running:
        running.wait_for("segment_sealed")
        running.wait_for_polls("show_locks", count=40)

        assert running.end() == 0
    assert not (log_dir / "archive").exists()


def killed_at_random(running: Service, chance: random.Random) -> None:
    """Kill an archiver at a random instant of its life, or the whole service with it."""
    pids = wait_until(lambda: [pid for pid in session_processes(running.pid) if is_archiver(pid)])
    time.sleep(chance.uniform(0, 0.05))
    for pid in pids if chance.random() < 0.5 else [running.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_kills_at_any_instant_leave_a_directory_that_is_proved(tmp_path: Path) -> None:
    """Services and archivers that are killed at random instants lose and double nothing: `sqmon verify` proves the directory."""
    chance = random.Random(os.urandom(8))
    with small_disk(tmp_path / "disk", "64m") as disk, Simulator(rows_locks=300) as simulator:
        log_dir = disk / "logs"
        options = ("--log_file_path", f"{log_dir}/", *OPTIONS)
        for _ in range(3):
            with service(simulator.port, log_dir, *options, metrics=METRICS, log=tmp_path / "stderr") as running:
                killed_at_random(running, chance)
        with service(simulator.port, log_dir, *options, metrics=METRICS, log=tmp_path / "stderr") as running:
            running.wait_for("segment_archived")
            running.wait_for_polls(*METRICS)

            assert running.end() == 0
        result = ended("verify", str(log_dir), "--json", cwd=tmp_path)
        archives = len(list(log_dir.glob("archive/*/*.zst")))

    assert (0, "") == (result.code, result.stderr), result.stdout
    assert archives > 10
