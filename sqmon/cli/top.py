"""`sqmon top`: what the cluster is doing now, or was at another time, read from the files alone."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from pathlib import Path
from typing import Callable, Optional

import msgspec

from sqmon.cli import exit_codes, log_directories
from sqmon.clock import SystemClock
from sqmon.config import options
from sqmon.config.typed_time import typed_time
from sqmon.errors import SqmonError, reason_of
from sqmon.storage.file_sources import DirectorySource, source_at
from sqmon.storage.source import Source
from sqmon.top.as_json import as_json
from sqmon.top.frame import printed
from sqmon.top.lines import painted, palette_of
from sqmon.top.recording import Recording
from sqmon.top.session import Session, attend
from sqmon.top.state import State
from sqmon.top.terminal import Terminal
from sqmon.top.views import VIEWS

OPTIONS = {
    "files": log_directories.OPTIONS,
    "top": (options.Option("json", False, "print the moment as one JSON object, for programs"),),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to look at. None of it comes from the environment."""
    parser.add_argument(
        "path",
        nargs="?",
        type=Path,
        metavar="PATH",
        help="what to read instead of --log_dir: the directory of a service or a copy of it, a bundle, or a file",
    )
    add = parser.add_argument_group("what to show").add_argument
    add(
        "--at",
        type=typed_time,
        metavar="TIME",
        help="begin at a time, as 03:12, 'yesterday 02:00', 2026-11-24T02:00 or -15m (default: now)",
    )
    names = [view.name for view in VIEWS]
    add(
        "--view",
        choices=names,
        default=names[0],
        metavar="VIEW",
        help=f"begin with {', '.join(names[:-1])} or {names[-1]} (default: %(default)s)",
    )
    add("--once", action="store_true", help="print one frame and end, as happens without a terminal")
    add("--filter", default="", metavar="TEXT", help="show only rows in which these words occur: of the user, service, object, text or id")


def run(args: argparse.Namespace) -> int:
    """Show it until the user ends it, or print it once."""
    source, cluster = _source(args)
    clock = SystemClock()
    try:
        at_ns = None
        if args.at is not None:
            at_ns = int(args.at.moment(dt.datetime.fromtimestamp(clock.time_ns() / 1e9, dt.timezone.utc)).timestamp() * 1e9)
        state = State(view=[view.name for view in VIEWS].index(args.view), filter=args.filter)
        with Recording(source, cluster=cluster) as recording:
            session = Session(recording, clock=clock, at_ns=at_ns, state=state)
            if args.json:
                sys.stdout.write(msgspec.json.encode(as_json(session.scene.picture)).decode() + "\n")
            elif args.once or not is_terminal():
                print_once(session)
            else:
                show(session)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise SqmonError(f"{error.filename or source.name}: {reason_of(error)}; the files must be readable") from None
    return exit_codes.OK


def is_terminal() -> bool:
    """Return whether somebody sits there to look at it."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def show(session: Session, *, until: Callable[[], bool] = lambda: False) -> None:
    """Show a session on this terminal until it is ended, or `until` says so."""
    palette = palette_of(os.environ, terminal=True)
    sys.stdout.flush()
    with Terminal(sys.stdin.fileno(), sys.stdout.fileno(), palette, sys.stdout.encoding or "utf-8") as terminal:
        attend(session, terminal, until=until)


def print_once(session: Session) -> None:
    """Print what a session shows: as wide as the terminal, or as it is where there is none."""
    terminal = sys.stdout.isatty()
    palette = palette_of(os.environ, terminal=terminal)
    width: Optional[int] = os.get_terminal_size(sys.stdout.fileno()).columns if terminal else None
    lines = printed(session.scene, session.state, width or None, mode=session.mode)
    encoding = sys.stdout.encoding or "utf-8"
    text = "".join(f"{painted(each, palette)}\n" for each in lines)
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))


def _source(args: argparse.Namespace) -> tuple[Source, str]:
    if args.path is not None:
        return source_at(args.path), args.cluster
    directories = log_directories.chosen(args)
    if len(directories) > 1:
        names = ", ".join(name or str(path) for name, path in directories)
        raise SqmonError(f"{directories[0][1].parent}: holds several clusters ({names}); choose one with --cluster, or give its directory")
    ((cluster, directory),) = directories
    return DirectorySource(directory), cluster
