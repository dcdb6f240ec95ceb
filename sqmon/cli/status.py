"""`sqmon status`: the state of a running service as a table, as JSON, and as an exit code that monitoring systems know."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import time
from pathlib import Path
from typing import Optional

import msgspec
from rich.table import Table
from rich.text import Text

from sqmon.cli import status_room
from sqmon.cli.console import Console
from sqmon.cli.status_room import Room
from sqmon.clock import stamp_ns
from sqmon.config import options, settings
from sqmon.errors import SqmonError, shown
from sqmon.health import status_file
from sqmon.health.status_file import LifetimesStatus, MetricStatus, Status
from sqmon.storage.directory_lock import is_locked

HEALTHY, DEGRADED, NOT_RUNNING = 0, 1, 2
_STALE_SECONDS = 10.0
_BEHIND_SECONDS = 5.0


OPTIONS = {
    "files": options.named("log_dir", "log_file_path"),
    "status": (options.Option("json", False, "one JSON object, for programs"),),
}


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Options are all there is."""


def run(args: argparse.Namespace) -> int:
    """Print the status of the service that the options describe."""
    log_dir, file_only = args.log_dir or settings.log_dir_to_read(), args.log_file_path
    if file_only is not None:
        log_dir = Path(file_only)
        if not (file_only.endswith(os.sep) or log_dir.is_dir()):
            raise SqmonError(f"{file_only}: a service that writes one file leaves no status; its events are in that file (metric sqmon)")
    return show(log_dir, as_json=args.json, console=Console())


def show(log_dir: Path, *, as_json: bool, console: Console) -> int:
    """Print the status of the service that writes to `log_dir`; return 0 when all is well, 1 when something is not, 2 without a service.

    Raises SqmonError when this user may not read what is needed for that.
    """
    status = status_file.read(log_dir)
    if not is_locked(log_dir):
        fate = f"; the last one, process {status.pid}, was {'stopped' if status.stopped else 'killed'}" if status else ""
        _show_one_line(log_dir, f"NOT RUNNING: no sqmon writes to {log_dir}{fate}", running=False, as_json=as_json, console=console)
        return NOT_RUNNING
    if status is None or status.stopped:
        line = f"DEGRADED: the sqmon that writes to {log_dir} has no status yet: it is starting, or it can't write {status_file.NAME}"
        _show_one_line(log_dir, line, running=True, as_json=as_json, console=console)
        return DEGRADED
    age = (time.time_ns() - status.updated_ns) / 1e9
    if age > _STALE_SECONDS:
        status.problems.append(f"the service has said nothing for {age:.0f} s")
    healthy = not status.problems and all(metric.healthy for metric in status.metrics)
    room = status_room.look(log_dir, status)
    if as_json:
        document = {"running": True, "healthy": healthy, **msgspec.to_builtins(status), "files": status_room.as_json(room)}
        console.out(msgspec.json.encode(document).decode(), highlight=False)
    else:
        _show(status, room, healthy=healthy, console=console)
    return HEALTHY if healthy else DEGRADED


def _show_one_line(log_dir: Path, line: str, *, running: bool, as_json: bool, console: Console) -> None:
    if as_json:
        state = {"running": True, "healthy": False} if running else {"running": False}
        console.out(msgspec.json.encode({**state, "log_dir": str(log_dir)}).decode(), highlight=False)
    else:
        console.print(Text(shown(line)), soft_wrap=True)


def _show(status: Status, room: Room, *, healthy: bool, console: Console) -> None:
    """Print what a monitoring system shows, which is the first line, and then everything else."""
    word = ("OK", "bold green") if healthy else ("DEGRADED", "bold red")
    console.print(Text.assemble(word, f": {shown(status_file.summary(status.metrics, status.problems))}"), soft_wrap=True)
    problems = status.problems if len(status.problems) > 1 else []
    for problem in [*problems, *(f"{metric.name}: {_wrong(metric)}" for metric in status.metrics if not metric.healthy)]:
        console.print(Text(f"  {shown(problem)}", style="red"), soft_wrap=True)
    console.print()
    console.print(_table(status))
    console.print()
    for sentence in status_room.sentences(room):
        console.print(Text(shown(sentence)))
    if status.lifetimes is not None:
        console.print(Text(f"\n{shown(_following(status.lifetimes))}"))
    if status.agent is not None:
        known = f"are read from {status.agent.positions}" if not status.agent.problem else f"are not known: {status.agent.problem}"
        console.print(Text(f"\nThe agent's positions {shown(known)}"))
    since = f"{_local(status.started):%Y-%m-%d %H:%M:%S %Z}"
    console.print(f"\nsqmon {status.version}, process {status.pid}, since {since}", highlight=False)


def _table(status: Status) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits into 80 columns
    now = dt.datetime.now().astimezone()
    for heading in ("metric", "state", f"last ok\n{now:%Z}"):
        table.add_column(heading, no_wrap=True)
    for heading in ("rows", "ms", "polls", "failed", "records", "restarts"):
        table.add_column(heading, justify="right", no_wrap=True)
    for metric in status.metrics:
        table.add_row(*_row(metric, now.date()))
    return table


def _row(metric: MetricStatus, today: dt.date) -> list[Text]:
    cells = [
        metric.name,
        metric.state,
        _time_of(metric.last_success, today),
        "" if metric.last_rows is None else str(metric.last_rows),
        "" if metric.last_duration_ms is None else f"{metric.last_duration_ms:.1f}",
        str(metric.polls),
        str(metric.failed_polls),
        str(metric.records),
        str(metric.restarts),
    ]
    return [Text(cell, style="" if metric.healthy else "red") for cell in cells]


def _time_of(stamp: Optional[str], today: dt.date) -> str:
    """Return the local time of a stamp, below its date unless that is `today`."""
    if stamp is None:
        return ""
    moment = _local(stamp)
    return f"{moment:%H:%M:%S}" if moment.date() == today else f"{moment:%Y-%m-%d\n%H:%M:%S}"


def _local(stamp: str) -> dt.datetime:
    return dt.datetime.fromtimestamp(stamp_ns(stamp) // 10**9, dt.timezone.utc).astimezone()


def _following(lifetimes: LifetimesStatus) -> str:
    """What the process `lifetimes` is doing."""
    if lifetimes.state != "following":
        return f"Lifetimes: {lifetimes.state}"
    if lifetimes.behind_s >= _BEHIND_SECONDS:
        return f"Lifetimes follow, {dt.timedelta(seconds=round(lifetimes.behind_s))} behind"
    return "Lifetimes follow and are up to date"


def _wrong(metric: MetricStatus) -> str:
    waiting = f" ({metric.pending_bytes >> 10} KiB wait in memory)" if metric.pending_bytes else ""
    return (metric.error or metric.state) + waiting
