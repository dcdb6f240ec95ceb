"""`sqmon status`: how a running service is, in a table, in JSON, and as an exit code that monitoring systems know."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sqmon.config import options, settings
from sqmon.errors import SqmonError
from sqmon.health import status_file
from sqmon.health.status_file import MetricStatus, Status
from sqmon.storage.directory_lock import is_locked

HEALTHY, DEGRADED, NOT_RUNNING = 0, 1, 2
_STALE_SECONDS = 10.0


OPTIONS = {
    "files": options.named("log_dir", "log_file_path"),
    "status": (options.Option("json", False, "one JSON object, for programs"),),
}


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Options are all there is."""


def run(args: argparse.Namespace) -> int:
    """Print the status of the service that the options describe."""
    log_dir, file_only = args.log_dir or settings.default_log_dir(), args.log_file_path
    if file_only is not None:
        log_dir = Path(file_only)
        if not (file_only.endswith(os.sep) or log_dir.is_dir()):
            raise SqmonError(f"{file_only}: a service that writes one file leaves no status; its events are in that file (metric sqmon)")
    return show(log_dir, as_json=args.json, console=Console())


def show(log_dir: Path, *, as_json: bool, console: Console) -> int:
    """Print the status of the service that writes to `log_dir`; return 0 when all is well, 1 when something is not, 2 without a service."""
    status = status_file.read(log_dir)
    if status is None or status.stopped or not is_locked(log_dir):
        if as_json:
            console.out(msgspec.json.encode({"running": False, "log_dir": str(log_dir)}).decode(), highlight=False)
        else:
            last = f"; the last one, process {status.pid}, {'was stopped' if status.stopped else 'was killed'}" if status else ""
            console.print(f"NOT RUNNING: no sqmon writes to {log_dir}{last}", highlight=False, soft_wrap=True)
        return NOT_RUNNING
    age = (time.time_ns() - status.updated_ns) / 1e9
    if age > _STALE_SECONDS:
        status.problems.append(f"the service has said nothing for {age:.0f} s")
    sick = [metric.name for metric in status.metrics if not metric.healthy]
    code = DEGRADED if sick or status.problems else HEALTHY
    if as_json:
        console.out(
            msgspec.json.encode({"running": True, "healthy": code == HEALTHY, **msgspec.to_builtins(status)}).decode(), highlight=False
        )
        return code
    word = "OK" if code == HEALTHY else "DEGRADED"
    well = len(status.metrics) - len(sick)
    console.print(
        Text.assemble((word, "bold green" if code == HEALTHY else "bold red"), f": {well} of {len(status.metrics)} metrics are well"),
        soft_wrap=True,
    )
    for problem in status.problems + [f"{metric.name}: {_wrong(metric)}" for metric in status.metrics if not metric.healthy]:
        console.print(Text(f"  {problem}", style="red"), soft_wrap=True)
    console.print()
    console.print(_table(status))
    console.print(f"\nsqmon {status.version}, process {status.pid}, since {status.started[:19]}Z", highlight=False)
    return code


def _table(status: Status) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits into 80 columns
    for heading in ("metric", "state", "last ok"):
        table.add_column(heading, no_wrap=True)
    for heading in ("rows", "ms", "polls", "failed", "records", "restarts"):
        table.add_column(heading, justify="right", no_wrap=True)
    for metric in status.metrics:
        table.add_row(*_row(metric))
    return table


def _row(metric: MetricStatus) -> list[Text]:
    cells = [
        metric.name,
        metric.state,
        (metric.last_success or "")[11:19],
        "" if metric.last_rows is None else str(metric.last_rows),
        "" if metric.last_duration_ms is None else f"{metric.last_duration_ms:.1f}",
        str(metric.polls),
        str(metric.failed_polls),
        str(metric.records),
        str(metric.restarts),
    ]
    return [Text(cell, style="" if metric.healthy else "red") for cell in cells]


def _wrong(metric: MetricStatus) -> str:
    waiting = f" ({metric.pending_bytes >> 10} KiB wait in memory)" if metric.pending_bytes else ""
    return (metric.error or metric.state) + waiting
