"""A service that everything happens to at once: faults of the host, the directory, the database and the operator, at random from a seed.

Usage: python -m tests.support.chaos [--seconds N] [--seed S] [--only kind,kind]

Every record that reached a file must be there exactly once, every one that did not must be named by a `gap`, the server must see at most
one refused login per pause, and the supervisor must live, stop in good order and leave no traceback in its log.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, NamedTuple

from sqmon.simulator import Simulator
from tests.support.chaos_kinds import INODES, KINDS, Site
from tests.support.collector import Collector
from tests.support.faults import HostFaults
from tests.support.program import Service, service, session_processes, wait_until
from tests.support.segment_files import small_disk

METRICS = {
    "show_locks": 0.2,
    "show_server_status": 0.3,
    "show_cluster_nodes": 0.2,
    "get_leveldb_stats": 0.5,
    "show_version": 1,
}
OPTIONS = ("--segment_mb", "0.1", "--buffer_mb", "1", "--password_file", "password", "--cluster", "chaos")
_RECOVERY_SECONDS = 90.0
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.1  # from one look at the files to the next
_SILENT_SECONDS = 60.0  # without any event, whatever happens


UnderWay = tuple[float, str, Iterator[float]]
"""When the next step of a fault is due, its kind, its steps."""


class Outcome(NamedTuple):
    """What a run has cost; it holds when nothing but the first two is above 0."""

    records: int = 0
    actions: int = 0
    unexplained: int = 0
    """Records that are in no file and that no `gap` names."""
    doubled: int = 0
    refused_logins: int = 0
    """Beyond the one that each pause may cost."""
    problems: int = 0
    """Tracebacks, bugs, a dead supervisor, metrics that were never polled again."""

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not any(self[2:])


def run(seed: int, seconds: float, kinds: tuple[str, ...] = ()) -> Outcome:
    """Let chaos reign for so many seconds and return what it has cost; what is wrong is printed."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as place, contextlib.ExitStack() as stack:
        directory = Path(place)
        try:
            disk = stack.enter_context(small_disk(directory / "disk", "48m", f",nr_inodes={INODES}"))
        except BaseException as error:  # noqa: BLE001 - pytest's Skipped: where mounting is not permitted
            say(f"without a disk of its own ({error}): nothing is filled up")
            disk = directory / "disk"
            disk.mkdir(exist_ok=True)
        (disk / "password").write_text("sqream\n", "utf-8")
        faults = HostFaults(directory)
        simulator = stack.enter_context(Simulator(rows_locks=5, seed=seed))
        running = stack.enter_context(
            service(simulator.port, disk / "logs", *OPTIONS, metrics=METRICS, environ=faults.environ, log=directory / "stderr")
        )
        collector = stack.enter_context(Collector(disk / "logs"))
        running.wait_for_polls(*METRICS, count=1)
        site = Site(random.Random(seed), running, simulator, faults, collector, disk, METRICS)
        actions = _reign(site, seconds, kinds)
        return _reckon(site, actions)


def _reign(site: Site, seconds: float, only: tuple[str, ...]) -> int:
    """Begin random faults, end each after a while, and follow the files meanwhile."""
    end, actions = time.monotonic() + seconds, 0
    events, heard = 0, time.monotonic()
    under_way: list[UnderWay] = []
    names = [name for name in KINDS if not only or name in only]
    while time.monotonic() < end and not site.running.ended:
        if len(site.collector.events) > events:
            events, heard = len(site.collector.events), time.monotonic()
        elif time.monotonic() - heard > _SILENT_SECONDS:
            site.problems.append(
                f"no event for {_SILENT_SECONDS:g} s, after {actions} actions; under way: {[name for _, name, _ in under_way]}"
            )
            break
        name = site.rng.choice(names)
        if len(under_way) < 3 and name not in {other for _, other, _ in under_way}:
            actions += 1
            under_way = _advance(under_way, name, KINDS[name](site))
        pause = time.monotonic() + site.rng.uniform(0.05, 0.6)
        while time.monotonic() < pause:
            site.collector.read()
            for due, other, steps in [entry for entry in under_way if entry[0] <= time.monotonic()]:
                under_way.remove((due, other, steps))
                under_way = _advance(under_way, other, steps)
            time.sleep(_LOOK_SECONDS)
    for _, _, steps in under_way:
        for _ in steps:  # ended at once
            pass
    return actions


def _advance(
    under_way: list[tuple[float, str, Iterator[float]]], name: str, steps: Iterator[float]
) -> list[tuple[float, str, Iterator[float]]]:
    """Take the next step of a fault; it is over when there is none."""
    patience = next(steps, None)
    return under_way if patience is None else [*under_way, (time.monotonic() + patience, name, steps)]


def _reckon(site: Site, actions: int) -> Outcome:
    """Heal everything, stop the service, and count."""
    problems: list[str] = []
    running, collector = site.running, site.collector
    if running.ended:
        problems.append(f"the supervisor ended with {running.process.returncode}")
    else:
        site.heal()
        after = collector.newest_event()
        try:
            wait_until(lambda: collector.polled(after) >= set(site.metrics), _RECOVERY_SECONDS)
        except AssertionError:
            problems.append(f"not polled again within {_RECOVERY_SECONDS:g} s: {set(site.metrics) - collector.polled(after)}")
            problems += [str(event) for event in collector.events if event["event"] == "login_paused"][-3:]
            problems += [str(event) for event in collector.events[-20:]]
        _stop(running, problems)
    collector.read()
    log, _, trace = running.stderr.partition("Traceback")
    problems += [f"a traceback in the log: {log[-300:]}Traceback{trace[:3000]}"] if trace else []
    problems += [f"a bug: {event}" for event in collector.events if event["event"] == "worker_exit" and event.get("kind") == "bug"]
    unexplained = collector.unexplained()
    problems += site.problems
    for problem in problems:
        say(f"  {problem}")
    for metric, run_id, seqs in unexplained[:20]:
        say(f"  {metric} {run_id}: {seqs} are in no file, and no gap names them")
    for key, times in collector.doubled()[:20]:
        say(f"  {key} is there {times} times")
    return Outcome(
        records=sum(collector.seen.values()),
        actions=actions,
        unexplained=sum(last - first + 1 for _, _, (first, last) in unexplained),
        doubled=len(collector.doubled()),
        refused_logins=site.refused_too_many(),
        problems=len(problems),
    )


def _stop(running: Service, problems: list[str]) -> None:
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    try:
        code = running.process.wait(_STOP_SECONDS)
        problems += [f"the exit code is {code}"] if code else []
    except Exception as error:  # noqa: BLE001 - subprocess.TimeoutExpired
        problems.append(f"SIGTERM: {error}")
    say(f"  stopped in {time.monotonic() - began:.1f} s, {len(session_processes(running.pid))} processes left")


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run it and print the figures; exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that happens (default: %(default)s)")
    parser.add_argument("--only", default="", help=f"kinds, separated by commas: {', '.join(KINDS)}")
    options = parser.parse_args()
    outcome = run(options.seed, options.seconds, tuple(filter(None, options.only.split(","))))
    say(f"seed {options.seed}: {json.dumps(outcome._asdict())}: {'holds' if outcome.holds else 'BROKEN'}")
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
