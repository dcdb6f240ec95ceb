"""`sqmon demo`: a simulated SQreamDB, the real service against it, and a view of what it writes."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Iterator, Optional

from sqmon.cli import exit_codes
from sqmon.cli.console import Console
from sqmon.cli.demo_view import View
from sqmon.config import converters, options
from sqmon.config.catalogue import DEFAULT_METRICS
from sqmon.errors import SqmonError
from sqmon.interpreter import isolated
from sqmon.simulator import Simulator
from sqmon.storage.reader import segments

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
    """Show the service at work until Ctrl-C or for `seconds`, then say what was written where. Raises SqmonError when it ends by itself."""
    before = {path for stream in (*DEFAULT_METRICS, "lifetimes", "sqmon") for path in segments(directory, stream)}
    with Simulator() as simulator, _service(directory, simulator.port) as service:
        console.print(
            f"SQreamDB simulator on 127.0.0.1:{simulator.port}, service with process id {service.pid}, Ctrl-C ends it",
            highlight=False,
            soft_wrap=True,
        )
        with View(directory, DEFAULT_METRICS, skip={f"{path.parent.name}/{path.name}" for path in before}, console=console) as view:
            end = None if seconds is None else time.monotonic() + seconds
            with contextlib.suppress(KeyboardInterrupt):
                while service.poll() is None and (end is None or time.monotonic() < end):
                    view.refresh()
                    time.sleep(_TURN_SECONDS)
            ended_by_itself = service.poll()
            service.terminate()
            with contextlib.suppress(KeyboardInterrupt):
                service.wait(_STOP_SECONDS)
            view.refresh()
    if ended_by_itself is not None:
        log = (directory / "service.log").read_text("utf-8", "replace").strip().splitlines()
        raise SqmonError(f"the service ended with exit code {ended_by_itself}: {log[-1] if log else 'it said nothing'}")
    console.print()
    for metric, tally in view.tallies.items():
        console.print(f"{metric}: {tally.polls} polls, {tally.records} records", highlight=False)
    console.print("\nThe files, one JSON object a line:", highlight=False)
    for stream in (*DEFAULT_METRICS, "lifetimes", "sqmon"):
        for path in segments(directory, stream):
            if path not in before:
                console.print(f"  {path}", highlight=False, soft_wrap=True)


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
