"""`sqmon history`: what became of locks, statements and nodes within a range of time, and when the monitor was blind."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Sequence

import msgspec

from sqmon.cli import exit_codes, history_view
from sqmon.cli.console import Console
from sqmon.clock import stamp_ns, utc_stamp
from sqmon.config import options, settings
from sqmon.config.typed_time import bounds_of, typed_duration, typed_time
from sqmon.errors import SqmonError
from sqmon.lifetimes import locks, nodes, statements
from sqmon.lifetimes.directory import Directory
from sqmon.lifetimes.gaps import Gap, Gaps
from sqmon.lifetimes.history import History, Range
from sqmon.lifetimes.lifetimes import Lifetimes
from sqmon.lifetimes.lines import Line
from sqmon.lifetimes.wanted import touches, wanted
from sqmon.storage.directory_lock import is_locked
from sqmon.storage.segment_names import all_segments

OPTIONS = {
    "files": options.named("log_dir"),
    "history": (options.Option("json", False, "one JSON object, for programs"),),
}

_METRICS = {
    "locks": (locks.METRIC, statements.METRIC),
    "statements": (statements.METRIC, locks.METRIC),
    "nodes": (nodes.METRIC,),
    "gaps": (),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to look for. None of it comes from the environment, where SQMON_USER is the role that polls."""
    parser.add_argument("kind", choices=tuple(_METRICS), metavar="KIND", help="locks, statements, nodes or gaps")
    add = parser.add_argument_group("what to show").add_argument
    time = "as 03:12, 'yesterday 02:00', 2026-11-24T02:00 or -15m"
    add("--since", type=typed_time, metavar="TIME", help=f"beginning of the range, {time} (default: the oldest event)")
    add("--until", type=typed_time, metavar="TIME", help="end of the range, likewise; a time alone is the next one (default: now)")
    add(
        "--object",
        default="",
        metavar="NAME",
        help="table, schema.table or locked object; for nodes the instance or ip:port, for gaps the metric",
    )
    add("--user", default="", metavar="ROLE", help="role whose statements to show")
    add("--statement", default="", metavar="TEXT", help="id, hash or a part of the text of the statements to show")
    add("--min", type=typed_duration, default=0.0, metavar="DURATION", help="leave out what lasted less, as 10s, 5m or 1h30m")


class Found(NamedTuple):
    """What a directory says about a range of time."""

    since: dt.datetime
    until: dt.datetime
    history: History
    gaps: list[Gap]


def run(args: argparse.Namespace) -> int:
    """Print what was found; gaps are exit code 1."""
    log_dir = args.log_dir or settings.log_dir_to_read()
    now = dt.datetime.now().astimezone()
    since, until = bounds_of(args.since, args.until, now)
    found = look(log_dir, _METRICS[args.kind], since, until, _wanted_of(args), now=now)
    gaps = [gap for gap in found.gaps if _is_about(args, gap)]
    if args.json:
        Console().out(msgspec.json.encode(as_json(args.kind, found, gaps)).decode(), highlight=False)
    else:
        history_view.show(args.kind, found.since, found.until, found.history, gaps, console=Console())
    return exit_codes.FAILED if args.kind == "gaps" and gaps else exit_codes.OK


def look(
    log_dir: Path,
    metrics: Sequence[str],
    since: Optional[dt.datetime],
    until: dt.datetime,
    kept: Callable[[str, Line], bool],
    *,
    now: dt.datetime,
) -> Found:
    """Read the directory of a service, running or not, and return what it says of the range; raises SqmonError without segments."""
    if "sqmon" not in all_segments(log_dir):
        raise SqmonError(f"{log_dir}: no segments of a service here; give its --log_dir")
    within = Range(None if since is None else _stamp(since), _stamp(until))
    lifetimes, history, gaps, told = Lifetimes(), History(within, kept), Gaps(), []
    running = is_locked(log_dir)
    try:
        for event, poll in Directory(log_dir, metrics).read():
            gap = gaps.take(event)
            if gap is not None:
                told.append(gap)
            for line in lifetimes.take(poll) if poll is not None else ():
                history.take(line)
    except OSError as error:
        raise SqmonError(f"{error.filename or log_dir}: {error.strerror or error}; the files must be readable") from None
    for line in lifetimes.unfinished():
        history.take(line)
    told += gaps.ongoing(running=running)
    begin = since or _moment(gaps.first_ns or 0).astimezone()
    if since is not None and gaps.first_ns is not None and _ns(begin) < gaps.first_ns:
        told.insert(0, Gap("", _ns(begin), gaps.first_ns, "no events are kept from that time"))
    return Found(begin, until, history, [gap for gap in told if _overlaps(gap, begin, min(until, now))])


def as_json(kind: str, found: Found, gaps: Sequence[Gap]) -> dict[str, Any]:
    """Return what was found for programs: times in UTC."""
    told = [
        {**gap._asdict(), "since": utc_stamp(gap.since_ns), "until": None if gap.until_ns is None else utc_stamp(gap.until_ns)}
        for gap in gaps
    ]
    for gap in told:
        del gap["since_ns"], gap["until_ns"]
    answer: dict[str, Any] = {"since": _stamp(found.since), "until": _stamp(found.until)}
    if kind != "gaps":
        lives = found.history.of(kind)
        answer[kind] = [{**lock, "waiters": found.history.waiters(lock)} for lock in lives] if kind == "locks" else lives
    return {**answer, "gaps": told}


def _wanted_of(args: argparse.Namespace) -> Callable[[str, Line], bool]:
    """Return what decides whether a lifetime is to be shown; the waits for a lock are shown with it, whoever waits."""

    def kept(kind: str, life: Line) -> bool:
        if kind == "waits":
            return True
        longest = life["held_max_s"]
        return (longest is None or longest >= args.min) and _names(args.object, kind, life) and _is_of(args, life)

    return kept


def _names(name: str, kind: str, life: Line) -> bool:
    if not name:
        return True
    if kind == "locks":
        return touches(name, str(life["locked_object"]))
    if kind == "statements":
        return any(touches(name, each) for each in wanted(str(life.get("statement") or ""), str(life.get("database_name") or "")))
    return name in (life["instance_id"], f"{life['server']}:{life['port']}")


def _is_of(args: argparse.Namespace, life: Line) -> bool:
    text = args.statement.lower()
    ids = (life.get("statement_id"), life.get("statement_hash"))
    said = not text or text in ids or text in str(life.get("statement") or "").lower()
    return said and (not args.user or args.user.lower() == str(life.get("username") or "").lower())


def _is_about(args: argparse.Namespace, gap: Gap) -> bool:
    """Whether a gap concerns what is shown: with lifetimes, the metrics that they come from."""
    if not gap.target:
        return True
    if args.kind == "gaps":
        return args.object in ("", gap.target)
    return gap.target in _METRICS[args.kind]


def _overlaps(gap: Gap, since: dt.datetime, until: dt.datetime) -> bool:
    return gap.since_ns < _ns(until) and (gap.until_ns is None or gap.until_ns > _ns(since))


def _ns(moment: dt.datetime) -> int:
    return stamp_ns(_stamp(moment))


def _stamp(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.timezone.utc):%Y-%m-%dT%H:%M:%S.%f}000Z"


def _moment(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns / 1e9, dt.timezone.utc)
