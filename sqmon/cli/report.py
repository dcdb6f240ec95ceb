"""`sqmon report`: one HTML file that tells what a cluster did, from the files of its service."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

from sqmon.cli import exit_codes
from sqmon.clock import utc_stamp
from sqmon.config import converters, options, settings
from sqmon.config.typed_time import bounds_of, nanoseconds, typed_time
from sqmon.delivery.report.gathering import Gathering
from sqmon.delivery.report.page import page
from sqmon.delivery.report.reading import gathered
from sqmon.delivery.report.times import local
from sqmon.errors import SqmonError, reason_of, shown
from sqmon.records.sql_columns import REWRITE
from sqmon.storage.file_sources import source_at

OPTIONS = {
    "report": (options.Option("sql", "masked", "what is shown of SQL text: full, masked or none", str, choices=tuple(REWRITE)),),
}

_MODE = 0o640
_EVERY_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the directory, the range and the file; none of it comes from the environment."""
    parser.add_argument(
        "path",
        nargs="?",
        type=converters.path,
        metavar="PATH",
        help="directory of a service or a copy of it, a bundle, or the file of --log_file_path (default: where a service writes)",
    )
    time = "as 03:12, 'yesterday 02:00', 2026-11-24T02:00 or -15m"
    parser.add_argument(
        "-o", "--output", default="", metavar="FILE", help="the file to write; - is standard output (default: sqmon-report-<range>.html)"
    )
    parser.add_argument("--since", type=typed_time, metavar="TIME", help=f"beginning of the range, {time} (default: the oldest event)")
    parser.add_argument("--until", type=typed_time, metavar="TIME", help="end of the range, likewise (default: the newest event)")


def run(args: argparse.Namespace) -> int:
    """Write the report, and say where it is."""
    source = source_at(args.path or settings.log_dir_to_read())
    now = dt.datetime.now().astimezone()
    since, until = bounds_of(args.since, args.until, now)
    found = gathered(
        source,
        nanoseconds(since) if since else None,
        nanoseconds(until) if args.until else None,
        now_ns=nanoseconds(now),
        progress=_progress() if sys.stderr.isatty() else _quiet,
    )
    text = page(found, source=source.name, sql=args.sql, rewrite=REWRITE[args.sql], made_ns=nanoseconds(now))
    if args.output == "-":
        sys.stdout.write(text)
        return exit_codes.OK
    file = Path(args.output or f"sqmon-report-{local(found.begin_ns):%Y%m%dT%H%M}-{local(found.end_ns):%Y%m%dT%H%M}.html")
    _write(file, text)
    told = f"{file}: {len(text.encode()) / 1e6:.1f} MB, {found.rows:,} rows from {source.name}, SQL text {args.sql}"
    print(f"\r\033[K{shown(told)}" if sys.stderr.isatty() else shown(told), file=sys.stderr)
    return exit_codes.OK


def _quiet(_: Gathering) -> None:
    pass


def _progress() -> Callable[[Gathering], None]:
    """Return what tells a terminal now and then how far the reading has come."""
    told = 0.0

    def tell(found: Gathering) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _EVERY_SECONDS:
            told = now
            print(f"\r\033[K{found.rows:,} rows, at {utc_stamp(found.last_ns)[:19]}Z", end="", file=sys.stderr, flush=True)

    return tell


def _write(file: Path, text: str) -> None:
    """Write the file whole, or leave what is there as it is; raises SqmonError."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as partial:
                partial.write(text)
                os.fchmod(descriptor, _MODE)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise SqmonError(f"{file}: can't be written: {reason_of(error)}") from None
