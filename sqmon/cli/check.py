"""`sqmon check`: the start-up checks alone, for people and for programs."""

from __future__ import annotations

import argparse
import contextlib
import json
import selectors
import sys
from typing import Iterator

from rich.console import Console
from rich.text import Text

from sqmon.cli import exit_codes
from sqmon.clock import SystemClock
from sqmon.config import arguments, metrics_file, options, settings
from sqmon.errors import ConfigError
from sqmon.ipc.check import Outcome
from sqmon.supervisor import service, startup_checks
from sqmon.supervisor.forkserver import Forkserver

_SIGNS = {
    "passed": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failed": ("FAILED", "bold red"),
    "retry": ("waiting", "yellow"),
}

OPTIONS = {
    **{title: found for title, found in options.GROUPS.items() if title not in ("files", "service")},
    "files": options.named("log_file_path"),
    "check": (
        options.Option("offline", False, "look only at the metrics file, and connect to nothing"),
        options.Option("json", False, "one JSON object a line: check, verdict, text"),
    ),
}


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Options are all there is."""


def run(args: argparse.Namespace) -> int:
    """Print the outcome of every check as it is known; the exit code says whether one failed."""
    code = exit_codes.OK
    console = Console(file=sys.stdout)
    for outcome in _outcomes(args):
        if outcome.verdict == "failed":
            code = exit_codes.FAILED
        if args.json:
            print(json.dumps({"check": outcome.name, "verdict": outcome.verdict, "text": outcome.text}), flush=True)
        else:
            sign, style = _SIGNS[outcome.verdict]
            console.print(Text.assemble((f"{sign:8}", style), f"{outcome.name:24} {outcome.text}"), soft_wrap=True)
    return code


def _outcomes(args: argparse.Namespace) -> Iterator[Outcome]:
    path = args.metrics_file or settings.default_metrics_file()
    try:
        yield startup_checks.check_metrics(path, metrics_file.read(path, args.query_timeout))
    except ConfigError as error:
        yield from (Outcome(startup_checks.METRICS, "failed", problem) for problem in error.problems)
    if args.offline:
        return
    if args.password_in_ps:
        yield Outcome("password", "warning", service.PASSWORD_WARNING)
    outside = arguments.outside_of(args)
    outside.connection.password.read()
    clock = SystemClock()
    with contextlib.closing(Forkserver(selectors.DefaultSelector(), clock=clock, on_lost=lambda _: None)) as forkserver:
        yield from startup_checks.check_outside(outside, forkserver=forkserver, clock=clock)
