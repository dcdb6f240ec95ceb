"""`sqmon check`: the start-up checks and one poll of each metric, for people and for programs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import sys
from pathlib import Path
from typing import Iterator, Optional

from rich.text import Text

from sqmon.cli import exit_codes
from sqmon.cli.console import Console
from sqmon.clock import SystemClock
from sqmon.config import arguments, metrics_file, options, settings
from sqmon.config.settings import Metric, Outside
from sqmon.errors import ConfigError, SqmonError, shown
from sqmon.ipc.check import Outcome
from sqmon.storage.file_check import refuse_irregular
from sqmon.supervisor import startup_checks
from sqmon.supervisor.forkserver import Forkserver

_SIGNS = {
    "passed": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failed": ("FAILED", "bold red"),
    "retry": ("waiting", "yellow"),
}

_SQL = {
    "full": "records hold SQL text whole, with what users typed; passwords and keys in it are masked",
    "masked": "records hold SQL text with every literal masked",
    "none": "records hold no SQL text",
}

OPTIONS = {
    **{title: found for title, found in options.GROUPS.items() if title not in ("files", "service")},
    "files": options.named("log_file_path"),
    "clusters": options.named("clusters_dir", "cluster"),
    "check": (
        options.Option("offline", False, "look only at the metrics file, and connect to nothing"),
        options.Option("json", False, "one JSON object a line: check, verdict, text, and cluster where there are several"),
    ),
}


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Options are all there is."""


def run(args: argparse.Namespace) -> int:
    """Print the outcome of every check as soon as it is known; the exit code says whether one failed."""
    code = exit_codes.OK
    console = Console(file=sys.stdout)
    for cluster, outcome in _all_outcomes(args):
        if outcome.verdict == "failed":
            code = exit_codes.FAILED
        if args.json:
            named = {"cluster": cluster} if cluster else {}
            print(json.dumps({**named, "check": outcome.name, "verdict": outcome.verdict, "text": outcome.text}), flush=True)
        else:
            sign, style = _SIGNS[outcome.verdict]
            name = f"{cluster} " if cluster else ""
            console.print(Text.assemble((f"{sign:8}", style), f"{name}{outcome.name:24} {shown(outcome.text)}"), soft_wrap=True)
    return code


def _all_outcomes(args: argparse.Namespace) -> Iterator[tuple[str, Outcome]]:
    """Yield the outcomes, with the name of the cluster where --clusters_dir has several."""
    if args.clusters_dir is None:
        yield from (("", outcome) for outcome in _outcomes(args))
        return
    yield from (("", outcome) for outcome in (_sql_outcome(args.sql), *args.doubts, *_file_outcomes(args.log_file_path)))
    loki = arguments.outside_of(args).loki
    for each in arguments.clusters_of(args):
        for problem in each.problems:
            yield each.name, Outcome(startup_checks.METRICS, "failed", problem)
        if not each.problems:
            yield each.name, startup_checks.check_metrics(each.file, each.metrics)
            if not args.offline:
                # A cluster that is down is tried once, since others wait; Loki is asked once for all.
                outside = Outside(each.connection, args.allow_gpu, loki, startup_timeout=0.0)
                loki = None
                yield from ((each.name, outcome) for outcome in _outside_outcomes(outside, each.metrics))


def _outcomes(args: argparse.Namespace) -> Iterator[Outcome]:
    path = args.metrics_file or settings.default_metrics_file()
    metrics: list[Metric] = []
    try:
        metrics = metrics_file.read(path, args.query_timeout)
        yield startup_checks.check_metrics(path, metrics)
        yield _sql_outcome(args.sql)
    except ConfigError as error:
        yield from (Outcome(startup_checks.METRICS, "failed", problem) for problem in error.problems)
    yield from args.doubts
    yield from _file_outcomes(args.log_file_path)
    if args.offline:
        return
    outside = arguments.outside_of(args)
    yield from _outside_outcomes(outside, metrics)


def _sql_outcome(mode: str) -> Outcome:
    return Outcome("sql_text", "passed", f"{_SQL[mode]} (--sql {mode}); sqmon scrub shows what that leaves of a text")


def _outside_outcomes(outside: Outside, metrics: list[Metric]) -> Iterator[Outcome]:
    outside.connection.password.read()
    # A call that changes the server is left to the service, at its time.
    polled = [metric for metric in metrics if not metric.is_command]
    clock = SystemClock()
    with contextlib.closing(Forkserver(selectors.DefaultSelector(), clock=clock, on_lost=lambda _: None)) as forkserver:
        yield from startup_checks.check_outside(outside, forkserver=forkserver, clock=clock, polled=polled)


def _file_outcomes(place: Optional[str]) -> Iterator[Outcome]:
    """Yield why a --log_file_path can't be used, as far as can be seen without writing to it."""
    if place is None or place.endswith(os.sep) or os.path.isdir(place):  # noqa: PTH112 - that of Path may raise
        return
    try:
        refuse_irregular(Path(place))
    except SqmonError as error:
        yield Outcome("log_file_path", "failed", str(error))
