"""`sqmon run` as a process: started in a session of its own, read as an agent reads it, stopped as an operator stops it."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Collection, Hashable, Iterator, Mapping, NamedTuple, Optional, Sequence, TypeVar

import pytest

from sqmon.health import status_file
from sqmon.health.status_file import Status
from sqmon.storage.file_sources import DirectorySource
from sqmon.storage.reader import StreamReader, segments

DEADLINE_SECONDS = 40.0
"""How long anything may take that has to happen: the machine may be busy, and nobody waits longer than it takes."""

QUICK = {"show_locks": 0.2, "get_license_info": 0.2}
"""Metrics that are polled so often that no test has to wait for long."""

STOP_SECONDS = 5.0
_GONE_SECONDS = 2.0
_NOBODY = "1"  # a port on which no Loki listens

POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
"""Makes root subject to the rights of files, as everybody else is."""

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], deadline: float = DEADLINE_SECONDS) -> T:
    """Return the first true value of `predicate`; AssertionError when there is none for `deadline` seconds."""
    end = time.monotonic() + deadline
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < end, f"nothing came for {deadline:g} s"
        time.sleep(0.02)


def session_processes(session: int) -> list[int]:
    """Return the living processes of a session; one that only waits to be reaped is dead."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in brackets may hold anything, so what follows its last bracket counts: state, parent, group, session.
            state, _, _, number = stat.read_text("utf-8", "replace").rpartition(")")[2].split()[:4]
            if int(number) == session and state not in "ZX":
                found.append(int(stat.parent.name))
    return found


def parent_of(pid: int) -> int:
    """Return the process id of the parent of a living process."""
    return int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])


def kill_session(session: int) -> None:
    """End whatever is left of a session."""
    for pid in session_processes(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def environment(**more: str) -> dict[str, str]:
    """Return ours without what could change an option, plus `more`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SQMON_", "PYTHON"))} | more


def command(*words: str) -> list[str]:
    """Return the command line of `sqmon` in this interpreter, where a warning is an error as it is in the tests."""
    return [sys.executable, "-W", "error", "-m", "sqmon", *words]


def metrics_file(directory: Path, metrics: Mapping[str, Any]) -> Path:
    """Write a metrics file and return its path."""
    path = directory / "metrics.json"
    path.write_text(json.dumps(metrics), "utf-8")
    return path


def seconds_between(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Return how many seconds after the first event the second one happened."""
    moments = [dt.datetime.strptime(event["ts"][:26] + "+0000", "%Y-%m-%dT%H:%M:%S.%f%z") for event in (first, second)]
    return (moments[1] - moments[0]).total_seconds()


class Service:
    """A `sqmon run` under way."""

    def __init__(self, process: subprocess.Popen[bytes], log_dir: Path, log: Path, old: Collection[Hashable]) -> None:
        self.process = process
        self.log_dir = log_dir
        self._log = log
        # What a service before this one has left there has a seq of its own.
        self._reader = StreamReader(log_dir, "sqmon", skip=old)
        self._events: list[dict[str, Any]] = []

    @property
    def pid(self) -> int:
        """The supervisor's process id, which is also the number of the session."""
        return self.process.pid

    @property
    def ended(self) -> bool:
        """Whether the supervisor is gone."""
        return self.process.poll() is not None

    @property
    def stderr(self) -> str:
        """Everything that was said so far."""
        return self._log.read_text("utf-8", "replace")

    def events(self, event: Optional[str] = None, *, after: int = 0, **fields: Any) -> list[dict[str, Any]]:
        """Return the events so far that are `event` and have these fields, past the one with the seq `after`."""
        self._events += self._reader.read()
        return [
            found
            for found in self._events
            if found["seq"] > after
            and event in (None, found["event"])
            and all(name in found and found[name] == value for name, value in fields.items())
        ]

    def latest(self) -> int:
        """Return the seq of the newest event, for `after`."""
        return max((event["seq"] for event in self.events()), default=0)

    def wait_for(self, event: str, *, after: int = 0, deadline: float = DEADLINE_SECONDS, **fields: Any) -> dict[str, Any]:
        """Return the first event that is `event` and has these fields, past the one with the seq `after`, as soon as it is there."""

        def found() -> Optional[dict[str, Any]]:
            ended = self.ended
            events = self.events(event, after=after, **fields)
            assert events or not ended, f"the service ended with {self.process.returncode} without {event} {fields}: {self.stderr}"
            return events[0] if events else None

        try:
            return wait_until(found, deadline) or {}
        except AssertionError as error:
            said = "\n".join(map(str, self.events()[-20:]))
            raise AssertionError(f"{event} {fields} after {after}: {error}\n{self.stderr}\n{said}") from None

    def wait_for_polls(self, *targets: str, after: Optional[int] = None, count: int = 2) -> None:
        """Return when each of `targets` has ended `count` polls without an error, from now on or past the event with the seq `after`."""
        passed = self.latest() if after is None else after
        for target in targets:
            wait_until(lambda target=target: self.ended or len(self.good_polls(target, after=passed)) >= count)  # type: ignore[misc]
            assert not self.ended, f"the service ended with {self.process.returncode}: {self.stderr}"

    def good_polls(self, target: str, *, after: int = 0) -> list[dict[str, Any]]:
        """Return the metric's polls without an error."""
        return [poll for poll in self.events("poll", after=after, target=target) if poll["status"] in ("ok", "empty")]

    def worker(self, metric: str) -> int:
        """Return the process id of the metric's newest worker."""
        self.wait_for("worker_start", target=metric)
        return int(self.events("worker_start", target=metric)[-1]["pid"])

    def forkserver(self) -> int:
        """Return the process id of the forkserver: the only child of the supervisor's own."""
        (pid,) = [pid for pid in session_processes(self.pid) if parent_of(pid) == self.pid]
        return pid

    def records(self, metric: str) -> list[dict[str, Any]]:
        """Return every record so far."""
        return list(StreamReader(self.log_dir, metric).read())

    def status(self) -> Status:
        """Return what the service says of itself in `status.json`, as soon as it says anything."""
        return wait_until(lambda: status_file.read(self.log_dir)) or pytest.fail("there is no status")

    def accounted(self, metric: str) -> tuple[list[tuple[str, int]], set[tuple[str, int]]]:
        """Return what is in the files, in order, and what gap events say was lost, as pairs of run and seq.

        AssertionError unless each record of each run is in exactly one of the two.
        """
        written = [(record["run_id"], record["seq"]) for record in self.records(metric)]
        gaps = [gap for gap in self.events("gap", target=metric) if gap.get("first_seq") is not None]
        lost = {(gap["target_run_id"], seq) for gap in gaps for seq in range(gap["first_seq"], gap["last_seq"] + 1)}
        newest: dict[str, int] = {}
        for run_id, seq in [*written, *lost]:
            newest[run_id] = max(seq, newest.get(run_id, 0))
        assert len(set(written)) == len(written)
        assert set(written) & lost == set()
        assert set(written) | lost == {(run_id, seq) for run_id, last in newest.items() for seq in range(1, last + 1)}
        return written, lost

    def segments(self, stream: str) -> list[Path]:
        """Return the stream's files, oldest first."""
        return segments(self.log_dir, stream)

    def cluster(self, name: str) -> Service:
        """Return the service as it is seen in the directory of one of its clusters, from the beginning on."""
        return Service(self.process, self.log_dir / name, self._log, ())

    def end(self, number: signal.Signals = signal.SIGTERM, *, group: bool = False) -> int:
        """Send the signal and return the exit code; AssertionError unless all is over in time and no process is left."""
        (os.killpg if group else os.kill)(self.pid, number)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {STOP_SECONDS:g} s: {self.stderr}") from None
        wait_until(lambda: not session_processes(self.pid), _GONE_SECONDS)
        return code

    def fell_silent(self) -> bool:
        """Whether no process of the session is left."""
        self.process.poll()
        return not session_processes(self.pid)


@contextlib.contextmanager
def service(
    port: Optional[int],
    log_dir: Path,
    *options: str,
    metrics: Optional[Mapping[str, Any]] = None,
    environ: Optional[Mapping[str, str]] = None,
    log: Optional[Path] = None,
    through: Sequence[str] = (),
) -> Iterator[Service]:
    """Run the service against the worker (or picker) at `port`; at the end no process of its session is left, whatever happened.

    Its working directory is the parent of `log_dir`. Options that are given twice count as the last one says. `through` is a command
    that turns itself into the one behind it, as setpriv does.
    """
    place = log_dir.parent
    place.mkdir(parents=True, exist_ok=True)
    words = ["run", "--host", "127.0.0.1", "--port", str(port), "--loki_host", "127.0.0.1", "--loki_port", _NOBODY]
    if "--log_file_path" not in options:
        words += ["--log_dir", str(log_dir)]
    if metrics is not None:
        words += ["--metrics_file", str(metrics_file(place, metrics))]
    log = log or place / f"{log_dir.name}.stderr"
    old = {segment.key for segment in DirectorySource(log_dir).segments("sqmon")}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*through, *command(*words, *options)],
            cwd=place,
            env=environment(**environ or {}),
            stdin=subprocess.DEVNULL,
            stderr=sink,
            start_new_session=True,
        )
    try:
        yield Service(process, log_dir, log, old)
    finally:
        kill_session(process.pid)
        process.wait()
        wait_until(lambda: not session_processes(process.pid))


class Ended(NamedTuple):
    """What a command left behind that ended by itself."""

    code: int
    stdout: str
    stderr: str


def ended(*words: str, cwd: Path, through: Sequence[str] = (), **more: str) -> Ended:
    """Run `sqmon` with these words and this environment to its end; AssertionError when a process of its session is left.

    `through` is as in `service`.
    """
    with subprocess.Popen(
        [*through, *command(*words)],
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=DEADLINE_SECONDS)
            wait_until(lambda: not session_processes(process.pid), _GONE_SECONDS)
        finally:
            kill_session(process.pid)
    return Ended(process.returncode, stdout.decode(), stderr.decode())
