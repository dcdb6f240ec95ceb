"""Random schedules of events, each made from its seed alone, and an account of every record in them."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Callable, NamedTuple

from sqmon.config.settings import SegmentOptions
from sqmon.storage.agent_positions import NOTHING_KNOWN, read_positions
from sqmon.storage.knowledge import Unread
from sqmon.storage.retention import RetentionLimits, enforce
from tests.support import ROOT, lifetimes_schedules
from tests.support.agent_model import Agent, Kind
from tests.support.clocks import FakeClock
from tests.support.segment_files import Stream, assert_as_sealed, fill, small_disk

METRICS = ("show_locks", "show_server_status", "sqmon")
AGENTS: tuple[Kind, ...] = ("alloy", "promtail")
DAY = 24 * 3600.0

Key = tuple[str, int]  # run_id, seq


class Outcome(NamedTuple):
    """Counts of records; a schedule holds when lost, doubled and torn are 0 and the gaps are equal."""

    records: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    gaps_reported: int = 0
    gaps_injected: int = 0
    kills: int = 0

    def plus(self, other: Outcome) -> Outcome:
        """Return the sums of both."""
        return Outcome(*map(sum, zip(self, other)))

    @property
    def holds(self) -> bool:
        """Whether every record is accounted for."""
        return not (self.lost or self.doubled or self.torn) and self.gaps_reported == self.gaps_injected


class Lines:
    """Every line that was ever in a segment: files are read before they are deleted and at the end."""

    def __init__(self, log_dir: Path) -> None:
        self.files: dict[Path, bytes] = {}
        self._log_dir = log_dir

    def look(self) -> None:
        """Read all files as they are now."""
        for path in self._log_dir.glob("*/*.jsonl"):
            self.files[path] = path.read_bytes()

    def forget(self, path: Path) -> None:
        """Leave out a file that somebody else than the service has deleted."""
        self.files.pop(path, None)

    def keys(self) -> tuple[Counter[Key], int]:
        """Return how often each record exists, and how many lines within files are no records."""
        found: Counter[Key] = Counter()
        torn = 0
        for data in self.files.values():
            for line in data.split(b"\n")[:-1]:
                key = key_of(line)
                torn += key is None
                if key is not None:
                    found[key] += 1
        return found, torn


def key_of(line: bytes) -> Key | None:
    """Return the run and seq of a line, None if it isn't whole."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record["run_id"], record["seq"]


class World:
    """A service of three metrics, an agent and a disk, moved by `step`."""

    def __init__(self, seed: int, log_dir: Path, positions_file: Path, *, disk: bool) -> None:
        self.rng = random.Random(seed)
        self.clock = FakeClock()
        self.log_dir = log_dir
        self.positions_file = positions_file
        self.disk = disk
        self.options = SegmentOptions(
            max_bytes=self.rng.choice([2_000, 20_000, 1 << 26]),
            buffer_bytes=self.rng.choice([2_000, 50_000, 1 << 23]),
            fsync="never",
        )
        self.limits = RetentionLimits(max_age_s=self.rng.choice([DAY, 7 * DAY]), max_bytes=self.rng.choice([30_000, 1 << 30]))
        self.lines = Lines(log_dir)
        self.unread: list[Unread] = []  # deleted without knowing that the agent has read them
        self.settled: dict[str, int] = {}  # by run, of those that have ended
        self.streams = [self._stream(metric) for metric in METRICS]
        self.ended: list[Stream] = []
        self.kills = 0
        self.agent = Agent(log_dir, positions_file, self.rng.choice(AGENTS))
        self.agent.start(self.clock.monotonic())
        self.agent.stop()
        self.agent.start(self.clock.monotonic())

    def _stream(self, metric: str) -> Stream:
        return Stream(self.log_dir, self.options, metric=metric, clock=self.clock)

    def step(self) -> None:
        """Let one random event happen, most often a poll."""
        events: list[tuple[int, Callable[[], object]]] = [
            (30, self.poll),
            (20, self.wait),
            (3, self.agent_up_or_down),
            (2, self.agent_killed),
            (3, self.agent_stall),
            (2, self.restart),
            (2, self.killed),
            (3, self.retention),
            (1, lambda: self.clock.advance(DAY)),
            (1, lambda: self.clock.step(self.rng.uniform(-DAY, DAY))),
        ]
        if self.disk:
            events += [(4, lambda: fill(self.log_dir)), (4, self.free), (1, self.deleted)]
        (event,) = self.rng.choices([event for _, event in events], [weight for weight, _ in events])
        event()
        for stream in self.streams:
            stream.writer.tick()
        self.agent.turn(self.clock.monotonic())

    def poll(self) -> None:
        """Write rows of one metric."""
        self.rng.choice(self.streams).poll(self.rng.choice([1, 3, 40]), "x" * self.rng.choice([5, 50, 500]))

    def wait(self) -> None:
        """Let the agent poll a few times."""
        for _ in range(self.rng.choice([1, 4, 100])):
            self.clock.advance(0.25)
            self.agent.turn(self.clock.monotonic())

    def agent_up_or_down(self) -> None:
        """Stop the agent in good order, or start it again."""
        if self.agent.running:
            self.agent.stop()
        else:
            self.agent.start(self.clock.monotonic())

    def agent_killed(self) -> None:
        """Kill the agent; it starts at once."""
        if self.agent.running:
            self.agent.kill()
        self.agent.start(self.clock.monotonic())

    def agent_stall(self) -> None:
        """Let Loki go away or come back."""
        self.agent.stalled = not self.agent.stalled

    def restart(self) -> None:
        """Stop one worker in good order and start another."""
        number = self.rng.randrange(len(self.streams))
        self._end(number, close=True)

    def killed(self) -> None:
        """Kill a worker: its memory is lost, but not what it had reported as settled."""
        self.kills += 1
        self._end(self.rng.randrange(len(self.streams)), close=False)

    def _end(self, number: int, *, close: bool) -> None:
        stream = self.streams[number]
        if close:
            stream.writer.close()
        elif stream.writer._segment is not None:
            os.close(stream.writer._segment._descriptor)
        self.settled[stream.run_id] = stream.writer.settled_seq
        self.ended.append(stream)
        self.streams[number] = self._stream(METRICS[number])

    def retention(self) -> None:
        """Delete what exceeds the limits, knowing what the agent has saved."""
        self.lines.look()
        active = [stream.writer.path for stream in self.streams if stream.writer.path]
        positions = read_positions(self.positions_file) or NOTHING_KNOWN
        deleted = enforce(self.log_dir, self.limits, active=active, now_ns=self.clock.now_ns, positions=positions)
        self.unread += [each.unread for each in deleted if each.unread]

    def free(self) -> None:
        """Give the disk its space back."""
        (self.log_dir / "filler").unlink(missing_ok=True)

    def deleted(self) -> None:
        """Delete an active segment, as an administrator might."""
        path = self.rng.choice(self.streams).writer.path
        if path is not None:
            path.unlink(missing_ok=True)
            self.lines.forget(path)

    def end(self) -> Outcome:
        """Let everything come to rest, then account for every record."""
        self.free()
        for number in range(len(self.streams)):
            self.streams[number].writer.tick()
            self._end(number, close=True)
        self.agent.stalled = False
        if not self.agent.running:
            self.agent.start(self.clock.monotonic())
        for _ in range(3):
            self.clock.advance(11)
            self.agent.turn(self.clock.monotonic())
        self.agent.stop()
        self.lines.look()
        return self._outcome()

    def _outcome(self) -> Outcome:
        there, torn = self.lines.keys()
        reported = Counter((stream.run_id, seq) for stream in self.ended for seq in stream.dropped_seqs())
        promised = {(run_id, seq) for run_id, last in self.settled.items() for seq in range(1, last + 1)}
        absent = promised - set(there)
        received: Counter[Key] = Counter()
        allowed: Counter[Key] = Counter()
        for line, count in self.agent.received.items():
            key = key_of(line)
            if key is not None:  # else half a line of a killed worker, which the agent's configuration drops
                received[key] += count
                allowed[key] += self.agent.may_repeat[line]
        excused = {(each.run_id, seq) for each in self.unread for seq in range(each.first_seq, each.last_seq + 1)}
        excused |= {key for key in map(key_of, self.agent.dropped) if key}
        unread = set(there) - set(received) - excused
        doubled = sum(count > 1 for count in there.values()) + sum(count > 1 + allowed[key] for key, count in received.items())
        if not self.disk:
            for stream in self.ended:
                present = [seal for seal in stream.sealed if (self.log_dir / seal.file).exists()]
                assert_as_sealed(self.log_dir, present)
        return Outcome(
            records=sum(stream.encoder.seq for stream in self.ended),
            lost=len(absent - set(reported)) + len(unread),
            doubled=doubled + sum(count > 1 for count in reported.values()),
            torn=torn,
            gaps_reported=len(set(reported) & promised),
            gaps_injected=len(absent),
            kills=self.kills,
        )


def agent_schedule(seed: int) -> Outcome:
    """Run outages, stalls, restarts and kills of agent and workers, rotation and retention, on a disk with room."""
    with tempfile.TemporaryDirectory() as place:
        world = World(seed, Path(place) / "logs", Path(place) / "positions.yml", disk=False)
        for _ in range(world.rng.choice([20, 100, 300])):
            world.step()
        return world.end()


def disk_schedule(seed: int) -> Outcome:
    """Run the same on a small disk that is filled and freed, and whose active segments are deleted."""
    with tempfile.TemporaryDirectory() as place, small_disk(Path(place) / "logs", size="512k") as disk:
        world = World(seed, disk, Path(place) / "positions.yml", disk=True)
        for _ in range(world.rng.choice([20, 100, 300])):
            world.step()
        return world.end()


class CrashingWorker:
    """A real process that polls until it is killed -9."""

    def __init__(self, kind: str, path: Path, run_id: str, seed: int) -> None:
        arguments = [sys.executable, "-m", "tests.support.crashing_worker", kind, str(path), run_id, str(seed)]
        self.run_id = run_id
        self._process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, bufsize=0)
        self._output = b""

    def wait_for_report(self) -> None:
        """Wait until it has reported something."""
        assert self._process.stdout is not None
        self._output += self._process.stdout.read(65536) or b""

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def last_report(self) -> int:
        """Return the last seq that it reported as settled; for after its death."""
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            while chunk := stdout.read(1 << 20):
                self._output += chunk
        return int(self._output.rpartition(b"\n")[0].rpartition(b"\n")[2] or 0)


def reports_at_random_kill(rng: random.Random, workers: list[CrashingWorker]) -> dict[str, int]:
    """Kill them a random time after the first report of each; return what each reported last."""
    for worker in workers:
        worker.wait_for_report()
    select.select([], [], [], rng.uniform(0, 0.02))
    for worker in workers:
        worker.kill()
    return {worker.run_id: worker.last_report() for worker in workers}


def crash_schedule(seed: int) -> Outcome:
    """Run a few generations of a real worker, each killed with SIGKILL: what it had reported exists once, in order."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        log_dir = Path(place) / "logs"
        reported: dict[str, int] = {}
        before: dict[Path, bytes] = {}
        for generation in range(rng.choice([1, 2, 4])):
            worker = CrashingWorker("segments", log_dir, f"r{generation}", rng.randrange(1 << 30))
            reported.update(reports_at_random_kill(rng, [worker]))
            # No later generation has touched what an earlier one left.
            assert all(path.read_bytes() == data for path, data in before.items())
            before = {path: path.read_bytes() for path in log_dir.glob("*/*.jsonl")}
        lines = Lines(log_dir)
        lines.look()
        return checked(*lines.keys(), reported)


def file_schedule(seed: int) -> Outcome:
    """Run three real workers that share one file, killed together with SIGKILL, twice."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "all.jsonl"
        reported: dict[str, int] = {}
        for generation in range(2):
            workers = [CrashingWorker("file", path, f"r{generation}{number}", rng.randrange(1 << 30)) for number in range(3)]
            reported.update(reports_at_random_kill(rng, workers))
        there: Counter[Key] = Counter()
        torn = 0
        for file in path.parent.iterdir():
            # The lock file is empty.
            keys = [key_of(line) for line in file.read_bytes().split(b"\n")[:-1]]
            torn += keys.count(None)
            there.update(key for key in keys if key is not None)
        return checked(there, torn, reported)


def checked(there: Counter[Key], torn: int, reported: dict[str, int]) -> Outcome:
    """Return the outcome for runs that were all killed: seq without a hole from 1, at least to what they reported."""
    lost = 0
    for run_id, last in reported.items():
        seqs = [seq for run, seq in there if run == run_id]
        lost += len(set(range(1, max([last, *seqs]) + 1)) - set(seqs))
    doubled = sum(count > 1 for count in there.values())
    return Outcome(records=sum(there.values()), lost=lost, doubled=doubled, torn=torn, kills=len(reported))


def lifetimes_schedule(seed: int) -> Outcome:
    """Run kills, failures and losses around the stream of lifetimes; `torn` counts lines whose bounds don't hold the truth."""
    told = lifetimes_schedules.run(seed)
    return Outcome(records=told.lines, lost=told.missing, doubled=told.doubled, torn=told.untrue, kills=told.kills)


SCHEDULES: dict[str, Callable[[int], Outcome]] = {
    "agent": agent_schedule,
    "disk": disk_schedule,
    "crash": crash_schedule,
    "file": file_schedule,
    "lifetimes": lifetimes_schedule,
}
