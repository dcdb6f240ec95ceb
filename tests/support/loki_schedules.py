"""Random faults between the files of a service and Loki, and whether `sqmon verify` names every one of them, and nothing else.

Usage: python -m tests.support.loki_schedules [--schedules N] [--seed S]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterable, NamedTuple, Optional

from sqmon.clock import stamp_ns
from sqmon.config.settings import SegmentOptions
from sqmon.delivery.loki_access import Access
from sqmon.delivery.loki_client import LokiClient
from sqmon.delivery.verify import verify
from sqmon.delivery.verify_loki import LokiProof, LokiVerdict, Share
from tests.support.clocks import FakeClock
from tests.support.loki_stand_in import Answer, LokiStandIn, serving
from tests.support.segment_files import Stream, segments

LAG_S = 300.0
LOOK_BACK_S = 9660.0
LABELS = {"job": "sqmon", "instance": "mon1", "cluster": "prod"}

Told = set[tuple[str, str, str, int]]
"""File, kind, hop and seq of every line that is not in Loki as it should be."""


class Segment(NamedTuple):
    """A segment as the schedule knows it."""

    file: str
    path: Path
    lines: list[str]
    times: list[int]
    ends: list[int]


class Schedule:
    """One site: its files, its agent, its Loki, and what went wrong between them."""

    def __init__(self, seed: int, place: Path) -> None:
        self.dice = random.Random(seed)
        self.place = place
        self.log_dir = place / "logs"
        self.clock = FakeClock()
        self.loki = LokiStandIn()
        self.loki.now_ns = self.clock.time_ns
        self.expected: Told = set()
        self.deep = self.dice.random() < 0.25
        self.positions: Optional[dict[str, int]] = {} if self.dice.random() < 0.5 else None
        self.settled = self.dice.random() < 0.5

    def run(self) -> LokiVerdict:
        """Let it happen, and ask; AssertionError unless exactly what happened is told."""
        self._write()
        found = [segment(path) for path in segments(self.log_dir)]
        for each in found:
            self._deliver(each)
        most = self.dice.choice([40, 200, 5000])
        self.loki.look_back_s = LOOK_BACK_S
        self.loki.config = self.loki.configuration() + f"limits_config:\n  max_entries_limit_per_query: {most}\n"
        self._restart()
        pauses: list[float] = []
        with serving(self.loki) as url:
            proof = LokiProof(
                LokiClient(Access(url), sleep=pauses.append),
                'job="sqmon"',
                clock=self.clock,
                lag_s=LAG_S,
                positions=self._positions_file(),
                deep=Share(1, 1) if self.deep else None,
            )
            verdict = proof.ask(verify(self.log_dir))
        told = {
            (each.file, finding.kind, finding.hop, seq)
            for each in verdict.segments
            for finding in each.findings
            for seq in range(finding.first_seq, finding.last_seq + 1)
        }
        assert told == self.expected, f"not told {sorted(self.expected - told)[:9]}, falsely told {sorted(told - self.expected)[:9]}"
        harmless = {(each.file, kind) for each in verdict.segments for kind in ("pending",) if each.verdict == kind}
        assert {file for file, kind, _, _ in told if kind == "pending"} >= {file for file, _ in harmless}
        assert verdict.proved == (not any(finding.fails for each in verdict.segments for finding in each.findings))
        assert self.loki.most_at_once == 1
        return verdict

    def _write(self) -> None:
        """Have services poll for some hours."""
        options = SegmentOptions(max_bytes=self.dice.choice([6_000, 30_000, 200_000]))
        streams = [Stream(self.log_dir, options, metric=metric, clock=self.clock) for metric in ("show_locks", "show_server_status")]
        pause = self.dice.choice([0.5, 20.0, 400.0])
        for number in range(self.dice.randrange(3, 40)):
            for stream in streams:
                stream.poll(self.dice.randrange(1, 60), text=f"select 'ä {number}'" * self.dice.randrange(1, 3))
            self.clock.advance(pause * self.dice.random())
        for stream in streams:
            if self.dice.random() < 0.7:
                stream.writer.close()
        self.clock.advance(self.dice.choice([0, 100, 1000, 4 * 3600]))

    def _deliver(self, each: Segment) -> None:
        """Let the agent send a segment, and something go wrong with it or not."""
        faults = [self._none, self._drop, self._refuse, self._double, self._alter, self._late, self._unflushed, self._unread]
        self.dice.choice([self._none, self._none, *faults])(each)

    def _put(self, each: Segment, places: list[int], *, read: Optional[int] = None, flushed: bool = True) -> None:
        labels = self._labels(each)
        for place in places:
            self.loki.put(labels, each.times[place], each.lines[place], flushed=flushed, run_id="r")
        if self.positions is not None:
            # A position may stand within a line that the agent has not read to its end.
            self.positions[str(each.path)] = each.ends[-1] if read is None else read

    def _labels(self, each: Segment) -> dict[str, str]:
        return {**LABELS, "metric": each.file.split("/")[0], "filename": f"/mnt/logs/{each.file}"}

    def _part(self, each: Segment) -> range:
        first = self.dice.randrange(len(each.lines))
        return range(first, min(len(each.lines), first + self.dice.choice([1, 3, 50, 1000])))

    def _expect(self, each: Segment, kind: str, hop: str, places: Iterable[int]) -> None:
        self.expected |= {(each.file, kind, hop, json.loads(each.lines[place])["seq"]) for place in places}

    def _expect_lost(self, each: Segment, places: Iterable[int]) -> None:
        """Expect that lines are missing which the agent has read; those are on their way that are young."""
        hop = "written -> loki" if self.positions is None else "read -> loki"
        for place in places:
            young = each.times[place] >= self.clock.time_ns() - LAG_S * 1e9
            self._expect(each, "pending" if young else "missing", hop, [place])

    def _none(self, each: Segment) -> None:
        self._put(each, [*range(len(each.lines))])

    def _drop(self, each: Segment) -> None:
        """Lines get lost in the middle; where nothing visible follows them, they may as well be unflushed."""
        last = len(each.lines) - 1
        places = sorted({place for _ in range(self.dice.randrange(1, 4)) for place in self._part(each)} - {last})
        self._put(each, [place for place in range(last + 1) if place not in places])
        for run in _runs(places):
            after = each.times[run[-1] + 1]
            old = [place for place in run if each.times[place] < self._unflushed_before()]
            hidden = old if after > self._unflushed_before() - 3600 * 10**9 else []
            self._expect_unflushed(each, hidden)
            self._expect_lost(each, [place for place in run if place not in hidden])

    def _refuse(self, each: Segment) -> None:
        """Loki refuses all of it."""
        self._put(each, [])
        hidden = [place for place in range(len(each.lines)) if each.times[place] < self._unflushed_before()]
        self._expect_unflushed(each, hidden)
        self._expect_lost(each, [place for place in range(len(each.lines)) if place not in hidden])

    def _unflushed(self, each: Segment) -> None:
        """The segment came late, and what is old of it is not flushed yet."""
        self._put(each, [*range(len(each.lines))], flushed=False)
        hidden = [place for place in range(len(each.lines)) if each.times[place] < self._unflushed_before()]
        self._expect_unflushed(each, hidden)

    def _expect_unflushed(self, each: Segment, places: list[int]) -> None:
        self._expect(each, "unflushed", "read -> loki", places)

    def _unflushed_before(self) -> int:
        return self.clock.time_ns() - int(LOOK_BACK_S * 1e9)

    def _double(self, each: Segment) -> None:
        """Lines come twice: into the same stream, where only counting finds the copies, or into another one."""
        self._none(each)
        places = [*self._part(each)]
        if self.dice.random() < 0.5:
            for place in places:
                self.loki.put({**self._labels(each), "instance": "mon2"}, each.times[place], each.lines[place])
        else:
            stored = self.loki.streams[frozenset(self._labels(each).items())]
            for place in places:
                stored[place].copies += 1
        self._expect(each, "stored_twice", "read -> loki", places)

    def _alter(self, each: Segment) -> None:
        """Lines have another text in Loki, of another length or with another seq, or of the same length where every byte is read."""
        self._none(each)
        stored = self.loki.streams[frozenset(self._labels(each).items())]
        longer, seq, same = (
            (lambda line: line + " "),
            (lambda line: line.replace('"seq":', '"seq":9', 1)),
            (lambda line: line.replace("select", "SELECT")),
        )
        change: Callable[[str], str] = self.dice.choice([longer, seq, *([same] if self.deep else [])])
        places = [*self._part(each)]
        for place in places:
            stored[place].line = change(stored[place].line)
        self._expect(each, "altered", "read -> loki", places)

    def _late(self, each: Segment) -> None:
        """The agent has read everything, and the youngest lines are still on their way."""
        after = next((place for place, ts in enumerate(each.times) if ts >= self.clock.time_ns() - LAG_S * 1e9), len(each.times))
        cut = self.dice.randrange(after, len(each.lines) + 1)
        self._put(each, [*range(cut)])
        self._expect_lost(each, range(cut, len(each.lines)))

    def _unread(self, each: Segment) -> None:
        """The agent stopped within the file, and the lines that it read last may be lost."""
        cut = self.dice.randrange(len(each.lines))
        if self.positions is None or each.times[cut] < self._unflushed_before():
            self._none(each)
            return
        # What it read last may have been lost behind it: one range in Loki, with two hops.
        kept = max(0, cut - self.dice.choice([0, 3]))
        kept = cut if each.times[kept] < self._unflushed_before() else kept
        self._put(each, [*range(kept)], read=each.ends[cut - 1] + self.dice.choice([0, 1, 19]) if cut else 0)
        self._expect_lost(each, range(kept, cut))
        for place in range(cut, len(each.lines)):
            young = each.times[place] >= self.clock.time_ns() - LAG_S * 1e9
            settled = self._looked_ns() - each.times[-1] > 600 * 10**9
            hop = "written -> loki" if settled and self.positions[str(each.path)] else "written -> read"
            self._expect(each, "pending" if young or not settled else "missing", hop, [place])

    def _looked_ns(self) -> int:
        return self.clock.time_ns() - (0 if self.settled else 8 * 3600 * 10**9)

    def _positions_file(self) -> Optional[Path]:
        if self.positions is None:
            return None
        path = self.place / "positions.yml"
        entries = "".join(f'  ? path: {name}\n    labels: "{{}}"\n  : "{offset}"\n' for name, offset in self.positions.items())
        path.write_text(f"positions:\n{entries}" if entries else "positions: {}\n", "utf-8")
        os.utime(path, ns=(self._looked_ns(), self._looked_ns()))
        return path

    def _restart(self) -> None:
        """Loki is restarted while it is asked, or has too much to do."""
        answers = [
            Answer(429, "too many outstanding requests\n", {"Retry-After": "3"}),
            Answer(500, "empty ring"),
            Answer(503, "not ready\n"),
        ]
        self.loki.answers = [self.dice.choice(answers) for _ in range(self.dice.choice([0, 0, 2]))]
        self.loki.dropped_connections = self.dice.choice([0, 0, 3])


def segment(path: Path) -> Segment:
    """Read a segment."""
    data = path.read_bytes()
    lines = data.decode().split("\n")[:-1]
    ends, offset = [], 0
    for line in lines:
        offset += len(line.encode()) + 1
        ends.append(offset)
    return Segment(f"{path.parent.name}/{path.name}", path, lines, [stamp_ns(json.loads(line)["ts"]) for line in lines], ends)


def _runs(places: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] + 1 == place:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def run(seed: int) -> LokiVerdict:
    """Run the schedule of this seed in a directory of its own; AssertionError when something is told wrongly."""
    with tempfile.TemporaryDirectory() as place:
        return Schedule(seed, Path(place)).run()


def main() -> int:
    """Run schedules one after the other and print the figures; exit code 1 when one is told wrongly, with its seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--schedules", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first; the others follow (default: %(default)s)")
    options = parser.parse_args()
    failures, count, queries, kinds, began = 0, 0, 0, dict[str, int](), time.monotonic()
    for seed in range(options.seed, options.seed + options.schedules):
        try:
            verdict = run(seed)
        except AssertionError as error:
            failures += 1
            sys.stdout.write(f"seed {seed}: {error}\n")
            continue
        queries += verdict.queries
        for each in verdict.segments:
            count += 1
            kinds[each.verdict] = kinds.get(each.verdict, 0) + 1
    figures = f"{count} segments {kinds}, {queries} queries, {time.monotonic() - began:.0f} s"
    sys.stdout.write(f"{options.schedules} schedules, {failures} told wrongly, {figures}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
