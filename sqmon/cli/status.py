"""`sqmon status`: the state of a running service as a table, as JSON, and as an exit code that monitoring systems know."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import time
from pathlib import Path
from typing import Any, NamedTuple, Optional

import msgspec
from rich.table import Table
from rich.text import Text

from sqmon.cli import log_directories, status_room
from sqmon.cli.console import Console
from sqmon.cli.log_directories import below, lines_of
from sqmon.cli.status_room import Room
from sqmon.clock import stamp_ns
from sqmon.config import options, settings
from sqmon.errors import SqmonError, shown
from sqmon.health import status_file
from sqmon.health.status_file import LifetimesStatus, MetricStatus, ProofStatus, Status
from sqmon.storage.directory_lock import is_locked

HEALTHY, DEGRADED, NOT_RUNNING = 0, 1, 2
_STALE_SECONDS = 10.0
_BEHIND_SECONDS = 5.0


OPTIONS = {
    "files": (*log_directories.OPTIONS, *options.named("log_file_path")),
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
    return show_all(below(log_dir, args.cluster), as_json=args.json, console=Console())


def show_all(directories: list[tuple[str, Path]], *, as_json: bool, console: Console) -> int:
    """Print the status of each cluster, a line where there are several, and return the worst exit code.

    Clusters that were removed on purpose are left out, unless there is no other.
    """
    watched = [(name, log_dir) for name, log_dir in directories if not _is_history(name, log_dir)] or directories
    if len(watched) == 1:
        return show(watched[0][1], as_json=as_json, console=console)
    looks = {name or str(log_dir): look(log_dir) for name, log_dir in watched}
    if as_json:
        for line in lines_of({name: each.as_json for name, each in looks.items()}):
            console.out(msgspec.json.encode(line).decode(), highlight=False)
    else:
        width = max(map(len, looks))
        for name, each in looks.items():
            console.print(Text.assemble(f"{shown(name):{width}}  ", (each.word, each.style), f": {shown(each.text)}"), soft_wrap=True)
    return max(each.code for each in looks.values())


def _is_history(name: str, log_dir: Path) -> bool:
    """Whether nobody is meant to write to a directory any more: its cluster was removed, or several have come in its place."""
    status = status_file.read(log_dir)
    return (not name or (status is not None and status.removed)) and not is_locked(log_dir)


class Look(NamedTuple):
    """What there is to say about one directory."""

    code: int
    word: str
    text: str
    as_json: dict[str, Any]
    status: Optional[Status] = None
    """None where there is no more to be told."""
    room: Optional[Room] = None
    """What the files take, where there is a status."""

    @property
    def style(self) -> str:
        """How the word is shown."""
        return "bold green" if self.code == HEALTHY else "bold red"


def show(log_dir: Path, *, as_json: bool, console: Console) -> int:
    """Print the status of the service that writes to `log_dir`; return 0 when all is well, 1 when something is not, 2 without a service.

    Raises SqmonError when this user may not read what is needed for that.
    """
    found = look(log_dir)
    if as_json:
        console.out(msgspec.json.encode(found.as_json).decode(), highlight=False)
    elif found.status is None or found.room is None:
        console.print(Text(shown(f"{found.word}: {found.text}")), soft_wrap=True)
    else:
        _show(found.status, found.room, healthy=found.code == HEALTHY, console=console)
    return found.code


def look(log_dir: Path) -> Look:
    """Return the status of the service that writes to `log_dir`; raises SqmonError when this user may not read what is needed for that."""
    status = status_file.read(log_dir)
    if not is_locked(log_dir):
        fate = f"; the last one, process {status.pid}, was {'stopped' if status.stopped else 'killed'}" if status else ""
        return Look(NOT_RUNNING, "NOT RUNNING", f"no sqmon writes to {log_dir}{fate}", {"running": False, "log_dir": str(log_dir)})
    if status is None or status.stopped:
        text = f"the sqmon that writes to {log_dir} has no status yet: it is starting, or it can't write {status_file.NAME}"
        return Look(DEGRADED, "DEGRADED", text, {"running": True, "healthy": False, "log_dir": str(log_dir)})
    age = (time.time_ns() - status.updated_ns) / 1e9
    if age > _STALE_SECONDS:
        status.problems.append(f"the service has said nothing for {age:.0f} s")
    healthy = not status.problems and all(metric.healthy for metric in status.metrics)
    room = status_room.look(log_dir, status)
    told = {"running": True, "healthy": healthy, **msgspec.to_builtins(status), "files": status_room.as_json(room)}
    text = status_file.summary(status.metrics, status.problems)
    code, word = (HEALTHY, "OK") if healthy else (DEGRADED, "DEGRADED")
    return Look(code, word, text, told, status, room)


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
    if status.proof is not None:
        console.print()
        console.print(_proof(status.proof), soft_wrap=True)
    since = f"{_local(status.started):%Y-%m-%d %H:%M:%S %Z}"
    console.print(f"\nsqmon {status.version}, process {status.pid}, since {since}", highlight=False)


def _proof(proof: ProofStatus) -> Text:
    looked = f"{_local(proof.looked):%Y-%m-%d %H:%M:%S %Z}"
    if not proof.proved:
        return Text(shown(f"NOT PROVED in {proof.url}: {proof.problem} (asked at {looked})"), "red")
    up_to = "for the segments that it was asked for" if proof.up_to is None else f"up to {_local(proof.up_to):%Y-%m-%d %H:%M:%S %Z}"
    return Text(shown(f"Proved to be in {proof.url} {up_to} (asked at {looked}; {proof.unproved_lines:,} lines were on their way)"))


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
