"""`sqmon demo`: a simulated SQreamDB, the real service against it, and `sqmon top` on what it writes."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Collection, Iterator, Mapping, Optional

from rich.text import Text

from sqmon.cli import exit_codes, top
from sqmon.cli.console import Console
from sqmon.clock import SystemClock
from sqmon.config import converters, options
from sqmon.config.catalogue import DEFAULT_METRICS
from sqmon.errors import SqmonError
from sqmon.interpreter import isolated
from sqmon.lifetimes import lines
from sqmon.simulator import Simulator
from sqmon.storage.file_sources import DirectorySource
from sqmon.storage.reader import StreamReader, segments
from sqmon.top.event_log import EVENTS
from sqmon.top.recording import Recording
from sqmon.top.session import Session
from sqmon.words import counted

_CONTENTION = 0.3
"""The share of statements that want the same lock, so that there is somebody to wait for."""
_LOCK_TIMEOUT_S = 30.0
_TURN_SECONDS = 0.25
_STOP_SECONDS = 10.0


OPTIONS = {
    "demo": (
        options.Option("seconds", None, "end by itself after N seconds (default: at Ctrl-C)", converters.positive, metavar="N"),
        options.Option("log_dir", Path("sqmon-demo"), "directory of the demo's files", converters.path, metavar="DIR"),
    ),
}


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Options are all there is."""


def run(args: argparse.Namespace) -> int:
    """Run the demo on this terminal."""
    demonstrate(args.log_dir, args.seconds, Console())
    return exit_codes.OK


def demonstrate(directory: Path, seconds: Optional[float], console: Console) -> None:
    """Show the service at work until somebody ends it or for `seconds`, then say what was written where.

    Without a terminal, each poll is a line. Raises SqmonError when the service ends by itself.
    """
    before = _files(directory)
    polls = Polls(directory, {f"{path.parent.name}/{path.name}" for path in before})
    with (
        Simulator(contention=_CONTENTION, statement_lock_timeout=_LOCK_TIMEOUT_S) as simulator,
        _service(directory, simulator.port) as service,
    ):
        console.print(
            f"SQreamDB simulator on 127.0.0.1:{simulator.port}, service with process id {service.pid}, Ctrl-C ends it",
            highlight=False,
            soft_wrap=True,
        )
        end = None if seconds is None else time.monotonic() + seconds

        def is_over() -> bool:
            return service.poll() is not None or (end is not None and time.monotonic() >= end)

        with contextlib.suppress(KeyboardInterrupt):
            if top.is_terminal():
                _show(directory, polls, is_over)
            else:
                while not is_over():
                    polls.tell(console)
                    time.sleep(_TURN_SECONDS)
        ended_by_itself = service.poll()
        service.terminate()
        with contextlib.suppress(KeyboardInterrupt):
            service.wait(_STOP_SECONDS)
        polls.tell(None if top.is_terminal() else console)
    if ended_by_itself is not None:
        log = (directory / "service.log").read_text("utf-8", "replace").strip().splitlines()
        raise SqmonError(f"the service ended with exit code {ended_by_itself}: {log[-1] if log else 'it said nothing'}")
    console.print()
    for metric, (count, records) in polls.counts.items():
        console.print(f"{metric}: {counted(count, 'poll')}, {counted(records, 'record')}", highlight=False)
    console.print("\nThe files, one JSON object a line:", highlight=False)
    for path in _files(directory):
        if path not in before:
            console.print(f"  {path}", highlight=False, soft_wrap=True)


def _files(directory: Path) -> list[Path]:
    return [path for stream in (*DEFAULT_METRICS, lines.METRIC, EVENTS) for path in segments(directory, stream)]


def _show(directory: Path, polls: Polls, is_over: Callable[[], bool]) -> None:
    """Show the live view as soon as there is something to show."""
    while not is_over() and not polls.tell(None):
        time.sleep(_TURN_SECONDS)
    if not is_over():
        with Recording(DirectorySource(directory)) as recording:
            top.show(Session(recording, clock=SystemClock()), until=is_over)


class Polls:
    """The polls of the demo, counted, and told as lines where there is no terminal."""

    def __init__(self, directory: Path, skip: Collection[str]) -> None:
        """Segments in `skip` are from before."""
        self.counts = dict.fromkeys(DEFAULT_METRICS, (0, 0))
        """How many polls there were of each metric, and how many records."""
        self._events = StreamReader(directory, EVENTS, skip=skip)

    def tell(self, console: Optional[Console]) -> bool:
        """Count what is new, and print it on the console if there is one; return whether every metric has been polled."""
        for event in self._events.read():
            if event["event"] == "poll" and event["target"] in self.counts and event["status"] != "skipped":
                count, records = self.counts[event["target"]]
                self.counts[event["target"]] = count + 1, records + event.get("rows", 0)
                self._print(console, event, f"{counted(event.get('rows', 0), 'row')}, {event.get('duration_ms', 0):.1f} ms")
            elif event["level"] != "info":
                self._print(console, event, str(event.get("reason") or event.get("text") or ""))
        return all(count for count, _ in self.counts.values())

    def _print(self, console: Optional[Console], event: Mapping[str, Any], text: str) -> None:
        if console is not None:
            what = event["target"] if event["event"] == "poll" else event["event"]
            said = ", ".join(str(part) for part in (event.get("status"), text) if part)
            error = f": {event['error']}" if event.get("error") else ""
            console.print(Text(f"{event['ts'][11:19]} {what}: {said}{error}"), soft_wrap=True)


@contextlib.contextmanager
def _service(directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run `sqmon run` in a process of its own, in file-only mode: a demo has no Loki."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQMON_")}
    command = [
        *isolated("from sqmon.cli.main import main; raise SystemExit(main())"),
        "run",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log_file_path",
        f"{directory}{os.sep}",
        "--cluster",
        "demo",
    ]
    with (directory / "service.log").open("wb") as log:
        theirs, ours = os.pipe()
        # Its own session: Ctrl-C is for the demo, which then stops the service in an orderly way.
        process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own arguments
            command, stdin=theirs, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    _end_with_us(process.pid, theirs)
    os.close(theirs)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _end_with_us(pid: int, pipe: int) -> None:
    """Have the kernel send SIGTERM to process `pid` when the other end of `pipe` is closed: even a killed demo leaves nothing."""
    fcntl.fcntl(pipe, fcntl.F_SETOWN, pid)
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
