"""`sqmon history`: what became of locks, statements and nodes within a range of time, and when the monitor was blind."""

from __future__ import annotations

import argparse
import datetime as dt
from typing import Any, Callable, Sequence

import msgspec
from rich.text import Text

from sqmon.cli import exit_codes, history_view, log_sources
from sqmon.cli.console import Console
from sqmon.cli.history_look import Asked, Found, as_stamps, look
from sqmon.clock import utc_stamp
from sqmon.config import options
from sqmon.config.typed_time import bounds_of, nanoseconds, typed_duration, typed_time
from sqmon.errors import shown
from sqmon.lifetimes import locks, nodes, statements
from sqmon.lifetimes.gaps import Gap
from sqmon.lifetimes.lines import Line
from sqmon.lifetimes.wanted import touches, wanted

OPTIONS = {
    "files": log_sources.OPTIONS,
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


def run(args: argparse.Namespace) -> int:
    """Print what was found; gaps are exit code 1."""
    now = dt.datetime.now().astimezone()
    since, until = bounds_of(args.since, args.until, now)
    asked = Asked(args.kind, _METRICS[args.kind], since, until, _wanted_of(args))
    sources = log_sources.chosen(args)
    console = Console()
    is_blind = False
    documents: list[dict[str, Any]] = []
    for number, (cluster, source) in enumerate(sources):
        found = look(source, asked, now=now)
        gaps = [gap for gap in found.gaps if _is_about(args, gap)]
        is_blind = is_blind or bool(gaps)
        if args.json:
            documents.append({**({"cluster": cluster} if cluster else {}), **as_json(args.kind, found, gaps)})
            continue
        if len(sources) > 1:
            console.print(Text(f"{'' if not number else chr(10)}cluster {shown(cluster)}" if cluster else "", "bold"), soft_wrap=True)
        history_view.show(args.kind, found.since, found.until, found.history, gaps, console=console)
    for document in documents:
        console.out(msgspec.json.encode(document).decode(), highlight=False)
    return exit_codes.FAILED if args.kind == "gaps" and is_blind else exit_codes.OK


def as_json(kind: str, found: Found, gaps: Sequence[Gap]) -> dict[str, Any]:
    """Return what was found for programs: times in UTC."""
    answer: dict[str, Any] = {"since": utc_stamp(nanoseconds(found.since)), "until": utc_stamp(nanoseconds(found.until))}
    if kind != "gaps":
        lives = found.history.of(kind)
        answer[kind] = [{**lock, "waiters": found.history.waiters(lock)} for lock in lives] if kind == "locks" else lives
    return {**answer, "gaps": as_stamps(gaps)}


def _wanted_of(args: argparse.Namespace) -> Callable[[str, Line], bool]:
    """Return what decides whether a lifetime is to be shown; the waits for a lock are shown with it, filtered or not."""

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
