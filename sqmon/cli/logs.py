"""`sqmon logs`: the records and events of any source, by time, text and column; one poll whole, or what changed between two."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import sys
import time
from typing import NoReturn, Sequence

import msgspec
from rich.cells import cell_len
from rich.text import Text

from sqmon.cli import exit_codes, log_sources, logs_polls, logs_view
from sqmon.cli.console import Console
from sqmon.cli.logs_filter import Filter, condition, expression
from sqmon.cli.logs_lines import Follower, Stream, Wanted, forward, last
from sqmon.cli.logs_view import Painter, Printer
from sqmon.cli.pager import paged
from sqmon.cli.shown_lines import shown_lines
from sqmon.config.typed_time import bounds_of, nanoseconds, typed_time
from sqmon.errors import ConfigError, SqmonError
from sqmon.storage.findings import Findings
from sqmon.storage.polls import Polls
from sqmon.storage.seek import Window
from sqmon.storage.source import MIXED, Source

OPTIONS = {"files": log_sources.OPTIONS}

_NOT_POLLED = ("sqmon", "lifetimes")
_TURN_SECONDS = 0.25
_TAIL = 10
"""Lines that -f begins with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to look for."""
    parser.add_argument("metrics", nargs="*", metavar="METRIC", help="metrics to read, or sqmon for the events (default: all)")
    add = parser.add_argument_group("what to print").add_argument
    form = "as 03:12, 'yesterday 02:00', 2026-11-24T02:00 or -15m"
    add("-f", "--follow", action="store_true", help="go on with what is added, until Ctrl-C")
    add("-n", "--lines", type=_count, metavar="N", help="only the last N lines that match (default: all; with -f, 10)")
    add("--since", type=typed_time, metavar="TIME", help=f"not before this time, {form}")
    add("--until", type=typed_time, metavar="TIME", help="not after this time, likewise")
    add("--grep", type=expression, default="", metavar="REGEX", help="only lines whose JSON text matches; (?i) at its start ignores case")
    add(
        "--where",
        type=condition,
        action="append",
        default=[],
        metavar="CONDITION",
        help="only lines whose column fulfils it, as username=etl, status!=ok, 'lock_age_s>60' or statement~insert; may be repeated",
    )
    add("--poll", type=typed_time, metavar="TIME", help="the rows of the newest good poll that began at this time or before, as a table")
    add("--diff", type=typed_time, nargs=2, metavar="TIME", help="which rows came, went and changed between the polls at two times")

    shape = parser.add_argument_group("form").add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="the lines as they are in the files, one JSON object each")
    shape.add_argument("--csv", action="store_true", help="comma-separated values of one metric")
    shape.add_argument("--table", action="store_true", help="columns below headings")
    parser.add_argument("--no_pager", action="store_true", help="print at once, also on a terminal")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Print what was asked for; exit code 1 when there is nothing."""
    form = _form_of(args)
    now = dt.datetime.now().astimezone()
    sources = log_sources.chosen(args)
    streams = _streams(sources, args.metrics)
    _refuse_unknown(sources, streams, args.metrics)
    findings = Findings()
    terminal = sys.stdout.isatty()
    paint = Painter.of(Console())
    if args.poll is not None or args.diff is not None:
        return _print_polls(args, _polled(streams), paint, now)
    names = sorted({stream.name for stream in streams})
    clusters = len({stream.cluster for stream in streams}) > 1
    wanted = Wanted(_window(args, now), Filter(args.grep, args.where), findings)
    printed = 0
    with contextlib.suppress(KeyboardInterrupt), paged(wanted=not args.follow and not args.no_pager, wide=args.table) as out:
        printer = Printer(logs_view.form_of(form, out, paint, terminal=terminal, streams=names, clusters=clusters), out, findings)
        if args.follow:
            printed = 1
            _follow(args, Follower(wanted, lambda: _streams(sources, args.metrics)), streams, printer)
        printed = printer.take(last(streams, wanted, args.lines) if args.lines else forward(streams, wanted))
    for text in findings.sentences():
        print(f"sqmon: {text}", file=sys.stderr)
    return exit_codes.OK if printed else exit_codes.FAILED


def _form_of(args: argparse.Namespace) -> str:
    """Return the name of the form, "" for words; raises ConfigError for options that don't go together."""
    forms = [name for name in ("json", "csv", "table") if getattr(args, name)]
    problems = []
    whole = "poll" if args.poll is not None else "diff" if args.diff is not None else ""
    if whole:
        others = ("follow", "lines", "since", "until", "grep", "where", "csv", "poll" if whole == "diff" else "diff")
        problems += [f"--{name}: has no meaning with --{whole}; leave one of them out" for name in others if getattr(args, name)]
    if args.follow and args.until is not None:
        problems.append("--until: has no meaning with --follow; leave one of them out")
    if problems:
        raise ConfigError(problems)
    return forms[0] if forms else ""


def _streams(sources: Sequence[tuple[str, Source]], names: Sequence[str]) -> list[Stream]:
    """Return the streams with these names that are there, all for none; the lines of mixed streams count as any."""
    found = []
    for cluster, source in sources:
        there = source.streams()
        chosen = there if not names else [*dict.fromkeys(names)] if there == [MIXED] else [name for name in there if name in names]
        found += [Stream(cluster, source, name) for name in chosen]
    return found


def _refuse_unknown(sources: Sequence[tuple[str, Source]], streams: Sequence[Stream], names: Sequence[str]) -> None:
    known = {stream.name for stream in streams}
    missing = [name for name in names if name not in known]
    if missing:
        there = sorted({stream for _, source in sources for stream in source.streams()})
        raise SqmonError(f"{sources[0][1].name}: has no lines of {', '.join(missing)}, but of {', '.join(there)}")


def _window(args: argparse.Namespace, now: dt.datetime) -> Window:
    since, until = bounds_of(args.since, args.until, now)
    return Window(None if since is None else nanoseconds(since), None if args.until is None else nanoseconds(until))


def _follow(args: argparse.Namespace, follower: Follower, streams: Sequence[Stream], printer: Printer) -> NoReturn:
    """Print what is added, until Ctrl-C or until the reader of the output goes away."""
    if not any(stream.source.grows for stream in streams):
        raise SqmonError(f"{streams[0].source.name}: nothing is ever added to it; leave out --follow")
    printer.take(follower.start_at_end(streams, args.lines or _TAIL) if args.lines or args.since is None else follower.added())
    while True:
        time.sleep(_TURN_SECONDS)
        lines = follower.added()
        if lines:
            printer.take(lines)


def _polled(streams: Sequence[Stream]) -> list[Stream]:
    """Return the streams that have polls; raises SqmonError where their names aren't known."""
    if any(stream.name == MIXED for stream in streams):
        raise SqmonError("name the metrics whose polls to show: they can't be told from the names of these files")
    return [stream for stream in streams if stream.name not in _NOT_POLLED]


def _print_polls(args: argparse.Namespace, streams: Sequence[Stream], paint: Painter, now: dt.datetime) -> int:
    """Print the poll of a moment, or what changed between those of two, for each stream; exit code 1 when there was none."""
    moments = sorted(each.moment(now) for each in ([args.poll] if args.poll is not None else args.diff))
    width = Console().width if sys.stdout.isatty() else None
    blocks: list[str] = []
    for stream in streams:
        polls = Polls(stream.source, stream.name)
        try:
            found = [poll for poll in (polls.at(nanoseconds(moment)) for moment in moments) if poll is not None]
        finally:
            polls.close()
        if len(found) < len(moments):
            print(f"sqmon: {stream.name}: no good poll at {moments[0]:%Y-%m-%d %H:%M:%S %Z} or before is in the files", file=sys.stderr)
        elif args.json:
            blocks.append(msgspec.json.encode(logs_polls.as_json(found, stream.cluster)).decode() + "\n")
        else:
            lines = logs_polls.lines(found, paint, cluster=stream.cluster, width=width)
            blocks.append("".join(f"{line}\n" for line in lines))
    text = ("" if args.json else "\n").join(blocks)
    is_wide = width is not None and any(cell_len(Text.from_ansi(line).plain) > width for line in text.splitlines())
    with paged(wanted=not args.no_pager, wide=is_wide) as out:
        out.write((shown_lines(text.encode()).decode() if args.json and width is not None else text).encode("utf-8", "backslashreplace"))
    return exit_codes.OK if blocks else exit_codes.FAILED
