"""`sqmon bundle`: packs what a service has written into one file that can leave the site."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Callable, Iterator, Optional

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from sqmon.cli import exit_codes, log_directories
from sqmon.cli.console import Console
from sqmon.config import converters, options, settings, small_file
from sqmon.config.password import PasswordSource
from sqmon.config.typed_time import bounds_of, typed_time
from sqmon.delivery import bundle_extras
from sqmon.delivery.bundle import FOREVER_NS, Extra, Order, bundle, directory_of
from sqmon.delivery.bundle_choice import Choice, Window, choose
from sqmon.delivery.bundle_masking import Masking
from sqmon.delivery.bundle_search import Secret
from sqmon.delivery.bundle_single import as_segments
from sqmon.delivery.origin import newest_start, origin_of
from sqmon.errors import ConfigError, SqmonError, reason_of
from sqmon.storage.bundle_manifest import Manifest, Omission
from sqmon.storage.file_sources import DirectorySource

OPTIONS = {
    "files": (
        *log_directories.OPTIONS,
        *options.named("log_file_path", "metrics_file", "agent_positions"),
        options.Option("instance", "", "name of the host in Loki, as the agent gives it (default: this host's)", str, metavar="NAME"),
    ),
    "what must not be in it": (
        *options.named("user", "password", "password_file"),
        options.Option(
            "search_for", None, "file of further texts, one a line, with which no bundle is written", converters.path, metavar="FILE"
        ),
    ),
}

_LARGEST_LIST = 1 << 20
_LEAST_SECRET = 3
_SECRET_NAMES = ("SQMON_LOKI_PASSWORD", "SQMON_LOKI_TOKEN", "LOKI_PASSWORD", "LOKI_BEARER_TOKEN")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is to be in it. None of it comes from the environment, where SQMON_SQL is what the service writes."""
    parser.add_argument(
        "directory", nargs="?", type=Path, metavar="DIR", help="directory of a service, or a copy of it (default: --log_dir)"
    )
    add = parser.add_argument_group("bundle").add_argument
    time = "as 03:12, 'yesterday 02:00', 2026-11-24T02:00 or -15m"
    add("--since", type=typed_time, metavar="TIME", help=f"only segments with records since then, {time}")
    add("--until", type=typed_time, metavar="TIME", help="only segments with records until then, likewise")
    add(
        "--sql",
        choices=("full", "masked", "none"),
        default="masked",
        help="SQL text in it: full as it was written, masked (every literal becomes ?) or none (default: %(default)s)",
    )
    add(
        "--max_mb",
        type=converters.number(0.1, 10**7),
        default=None,
        metavar="MIB",
        help="MiB that it may have; the newest segments stay (default: any size)",
    )
    add(
        "-o",
        "--output",
        type=converters.path,
        metavar="FILE",
        help="the file to write (default: a name of cluster, host and times, .tar.zst)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the bundle and say what is in it."""
    if args.directory and args.log_file_path:
        raise ConfigError(["DIR and --log_file_path exclude each other; give one of them"])
    secrets = tuple(_secrets(args))
    since, until = bounds_of(args.since, args.until, dt.datetime.now().astimezone())
    window = Window(int(since.timestamp() * 1e9) if since else 0, int(until.timestamp() * 1e9) if args.until else FOREVER_NS)
    masking = Masking(args.sql)
    with contextlib.ExitStack() as stack:
        taken_from, omitted, single = dict[str, str](), list[Omission](), _single_file(args)
        if single is not None:
            made = stack.enter_context(as_segments(single, (args.output or Path()).parent))
            log_dir, taken_from, omitted = made.log_dir, made.taken_from, made.omitted
        else:
            log_dir = _log_dir(args)
        choice = choose(log_dir, window)
        if not choice.segments:
            why = "no segments here; give the --log_dir of a service" if not choice.omitted else "no records in that window"
            raise SqmonError(f"{single or log_dir}: {why}")
        start = newest_start(DirectorySource(log_dir))
        origin = origin_of(start, log_dir if single is None else single.parent, cluster=args.cluster, instance=args.instance)
        found = [
            bundle_extras.metrics(args.metrics_file or _path(start.metrics_file) or settings.default_metrics_file(), masking),
            bundle_extras.status(log_dir, masking),
            bundle_extras.positions(log_dir, args.agent_positions),
        ]
        extras = [each for each in found if isinstance(each, Extra)]
        omitted += [each for each in found if isinstance(each, Omission)]
        path = args.output or Path(f"{directory_of(choice, origin)}.tar.zst")
        if path.exists():
            raise SqmonError(f"{path}: is there already; give another name with -o")
        order = Order(window, masking, origin, secrets, int((args.max_mb or 0) * (1 << 20)), taken_from)
        with _progress(choice) as advance:
            manifest = bundle(log_dir, choice, order, path, extras=extras, omitted=omitted, progress=advance)
    _show(path, manifest)
    return exit_codes.OK


def _single_file(args: argparse.Namespace) -> Optional[Path]:
    place: Optional[str] = args.log_file_path
    return Path(place) if place and not (place.endswith(os.sep) or Path(place).is_dir()) else None


def _log_dir(args: argparse.Namespace) -> Path:
    """Return the directory to pack; raises SqmonError when it holds several clusters."""
    place = args.directory or (Path(args.log_file_path) if args.log_file_path else None)
    found = log_directories.below(place, args.cluster) if place else log_directories.chosen(args)
    if len(found) > 1:
        raise SqmonError(f"a bundle is of one cluster; give --cluster, one of {', '.join(name for name, _ in found if name)}")
    return found[0][1]


def _path(text: object) -> Optional[Path]:
    return Path(text) if isinstance(text, str) and Path(text).is_file() else None


def _secrets(args: argparse.Namespace) -> Iterator[Secret]:
    """Yield what must not be in the bundle; raises ConfigError when a file that holds some can't be read."""
    password = PasswordSource(args.password, args.password_file).read()
    if password in (args.user, "sqream", ""):
        print("sqmon: the password is a name that anybody knows, so the bundle is not searched for it", file=sys.stderr)
    else:
        yield Secret("the password", password)
    for name in _SECRET_NAMES:
        if os.environ.get(name):
            yield Secret(name, os.environ[name])
        if os.environ.get(f"{name}_FILE"):
            yield from (Secret(name, text) for text in _texts(f"{name}_FILE", Path(os.environ[f"{name}_FILE"])))
    if args.search_for is not None:
        for number, text in enumerate(_texts("--search_for", args.search_for), 1):
            if len(text) < _LEAST_SECRET:
                raise ConfigError([f"--search_for {args.search_for}: text {number} has fewer than {_LEAST_SECRET} characters"])
            yield Secret(f"text {number} of {args.search_for}", text)


def _texts(name: str, path: Path) -> list[str]:
    try:
        return [line.rstrip("\r") for line in small_file.read(path, _LARGEST_LIST).decode("utf-8").split("\n") if line.strip()]
    except OSError as error:
        raise ConfigError([f"{name} {path}: can't be read: {reason_of(error)}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{name} {path}: is not UTF-8 text"]) from None


@contextlib.contextmanager
def _progress(choice: Choice) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("packing", total=sum(each.bytes for each in choice.segments))
        yield lambda size: progress.advance(task, size)


def _show(path: Path, manifest: Manifest) -> None:
    console = Console(highlight=False, soft_wrap=True)
    packed = [file for file in manifest.files if file.kind == "segment"]
    lines, size = sum(file.lines for file in packed), sum(file.bytes for file in packed)
    console.print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB", markup=False)
    console.print(f"  {len(packed):,} segments, {lines:,} lines, {size / 1e6:,.1f} MB; SQL text: {manifest.sql}", markup=False)
    growing, left = sum(file.growing for file in packed), sum(file.left_out_bytes for file in packed)
    if growing:
        console.print(f"  {growing:,} of the segments had no seal yet, so nothing vouches for what is in them", markup=False)
    if left:
        console.print(f"  {left:,} bytes left out: half lines, and what is no record", markup=False)
    segmental = Counter(each.reason for each in manifest.omitted if each.file.endswith(".jsonl"))
    for reason, count in segmental.items():
        console.print(f"  {count:,} segments left out: {reason}", markup=False)
    for each in manifest.omitted:
        if not each.file.endswith(".jsonl"):
            console.print(f"  without {each.file}: {each.reason}", markup=False)
    console.print(f"  searched for {manifest.searched_for:,} secrets, none of which is in it", markup=False)
