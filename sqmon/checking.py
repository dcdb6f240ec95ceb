"""`sqmon check`: the start-up checks alone, for people and for programs."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Iterator

from rich.console import Console
from rich.text import Text

from sqmon import checks, config, metrics_file, service, settings
from sqmon.clock import SystemClock
from sqmon.errors import ConfigError
from sqmon.outcome import Outcome

_SIGNS = {
    "passed": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failed": ("FAILED", "bold red"),
    "retry": ("waiting", "yellow"),
}


def run(args: argparse.Namespace) -> bool:
    """Print the outcome of every check as it is known; return whether one failed."""
    failed = False
    console = Console(file=sys.stdout)
    for outcome in _outcomes(args):
        failed = failed or outcome.verdict == "failed"
        if args.json:
            print(json.dumps({"check": outcome.name, "verdict": outcome.verdict, "text": outcome.text}), flush=True)
        else:
            sign, style = _SIGNS[outcome.verdict]
            console.print(Text.assemble((f"{sign:8}", style), f"{outcome.name:24} {outcome.text}"), soft_wrap=True)
    return failed


def _outcomes(args: argparse.Namespace) -> Iterator[Outcome]:
    path = args.metrics_file or config.default_metrics_file()
    try:
        yield checks.check_metrics(path, metrics_file.read(path, args.query_timeout))
    except ConfigError as error:
        yield from (Outcome(checks.METRICS, "failed", problem) for problem in error.problems)
    if args.offline:
        return
    if args.password_in_ps:
        yield Outcome("password", "warning", service.PASSWORD_WARNING)
    yield from checks.check_outside(settings.outside_of(args), context=service.forkserver(), clock=SystemClock())
