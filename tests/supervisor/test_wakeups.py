"""How often the supervisor wakes and writes, by the kernel's own counts, with the real program."""

from __future__ import annotations

import re
import time
from pathlib import Path

from sqmon.simulator import Simulator
from tests.support.program import service, wait_until

METRICS = {f"metric_{number}": {"interval": 0.25, "query": "select show_version()"} for number in range(8)}


def wakeups(pid: int) -> int:
    """Return how many times the main thread of a process has gone to sleep by itself."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text("ascii")
    return int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)[0])


def writes(pid: int) -> int:
    """Return how many times a process has written to a file."""
    return int(re.findall(r"^syscw: (\d+)", Path(f"/proc/{pid}/io").read_text("ascii"), re.MULTILINE)[0])


def test_idle_supervisor_wakes_twice_a_second(simulator: Simulator, tmp_path: Path) -> None:
    """While every metric waits for its next poll, the main thread wakes at most twice a second."""
    with service(simulator.port, tmp_path / "logs", metrics={"show_locks": 60}) as run:
        run.wait_for_polls("show_locks", after=0, count=1)
        quiet_since = time.monotonic() + 2.0  # until then seals are looked for, and the status is written for the first time
        wait_until(lambda: time.monotonic() >= quiet_since)
        began, before = time.monotonic(), wakeups(run.pid)
        wait_until(lambda: time.monotonic() >= began + 5.0)
        woken, seconds = wakeups(run.pid) - before, time.monotonic() - began

        assert woken <= 2 * seconds + 1


def test_events_of_a_bunch_are_one_write(simulator: Simulator, tmp_path: Path) -> None:
    """What eight metrics report in half a second is written together, not an event at a time."""
    with service(simulator.port, tmp_path / "logs", metrics=METRICS) as run:
        run.wait_for_polls(*METRICS)
        latest, before, began = run.latest(), writes(run.pid), time.monotonic()
        run.wait_for_polls(*METRICS, after=latest, count=8)
        written, seconds = writes(run.pid) - before, time.monotonic() - began
        events = len(run.events("poll", after=latest))

        # Two hearings a second make a write each, and the status file is written once a second.
        assert written <= 4 * seconds + 4 < events
