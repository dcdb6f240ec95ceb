"""`sqmon replay`: sends to Loki what it does not have of a bundle or of a log directory."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import Callable, Iterator

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from sqmon.cli import exit_codes, loki_options, verify_view
from sqmon.cli.console import Console
from sqmon.clock import SystemClock
from sqmon.config import converters, options
from sqmon.delivery.loki_client import LokiClient
from sqmon.delivery.loki_queries import DEFAULT_SELECTOR, matchers_of
from sqmon.delivery.origin import newest_start, origin_of
from sqmon.delivery.places import Place, place_at
from sqmon.delivery.replay import Done, Plan, Replay
from sqmon.delivery.replay_labels import Labels
from sqmon.delivery.verify import verify
from sqmon.delivery.verify_loki import LokiProof
from sqmon.errors import ConfigError, SqmonError

_MINUTE_S = 60

OPTIONS = {
    "Loki": (
        options.Option("loki_url", None, "the Loki to send to, as in http://localhost:3100", converters.name, metavar="URL"),
        *loki_options.OPTIONS,
    ),
    "labels": (
        options.Option("cluster", "", "name of the cluster (default: that of the bundle)", str, metavar="NAME"),
        options.Option("instance", "", "name of the host (default: that of the bundle, of a directory this host)", str, metavar="NAME"),
    ),
    "of a directory": (
        options.Option(
            "lag", 300.0, "age in seconds up to which a line is left to the agent", converters.number(0, 10**7), metavar="SECONDS"
        ),
        *options.named("agent_positions"),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is to be sent, and how."""
    parser.add_argument("path", type=Path, metavar="PATH", help="a bundle, the directory that one was unpacked to, or that of a service")
    add = parser.add_argument_group("replay").add_argument
    add("--dry_run", action="store_true", help="say what would be sent, and what Loki would refuse; send nothing")
    add("--partial", action="store_true", help="send what Loki takes, although it will refuse some, or although the files are damaged")


def run(args: argparse.Namespace) -> int:
    """Send what is missing and prove that it is there."""
    if not args.loki_url:
        raise ConfigError(["--loki_url: says where to send to, as in http://localhost:3100"])
    client, clock, console = LokiClient(loki_options.access_of(args)), SystemClock(), Console(highlight=False, soft_wrap=True)
    place = place_at(args.path)
    verdict = verify(args.path)
    if verdict.problems and not args.partial:
        raise SqmonError(
            f"{args.path}: is not what the service wrote ({len(verdict.problems)} problems); `sqmon verify {args.path}` names them, "
            "and --partial sends it all the same"
        )
    matchers, live = matchers_of(DEFAULT_SELECTOR), place.manifest is None
    proof = LokiProof(client, matchers, clock=clock, lag_s=args.lag if live else 0, positions=args.agent_positions if live else None)
    replay = Replay(client, proof, matchers, clock=clock)
    plan = replay.plan(verdict)
    _show_plan(plan, client, console)
    if plan.preflight.concerns and not args.partial:
        raise SqmonError("nothing was sent; change Loki's configuration as it says above, or send with --partial what Loki takes")
    if args.dry_run:
        return exit_codes.OK
    done = Done(0, 0, [])
    if plan.lines:
        with _progress(plan) as advance:
            done = replay.run(args.path, plan, _labels(args, place), advance)
        _show_done(done, console)
    began = time.monotonic()
    in_loki = replay.check(verdict)
    rewritten = {path for path, file in place.packed.items() if file.rewritten}
    verify_view.show_in_loki(in_loki, time.monotonic() - began, console)
    failing = [each.file for each in in_loki.segments for finding in each.findings if finding.fails and finding.kind != "altered"]
    altered = {each.file for each in in_loki.segments for finding in each.findings if finding.fails and finding.kind == "altered"}
    if altered & rewritten:
        console.print("The text of this bundle is masked, so lines that the agent has sent as they were have another text in Loki.")
    return exit_codes.FAILED if failing or altered - rewritten or done.refused or done.too_old else exit_codes.OK


def _labels(args: argparse.Namespace, place: Place) -> Labels:
    if place.manifest is not None:
        return Labels(args.cluster or place.manifest.cluster, args.instance or place.manifest.instance, place.manifest.log_dir)
    return Labels(*origin_of(newest_start(place.source), args.path, cluster=args.cluster, instance=args.instance))


@contextlib.contextmanager
def _progress(plan: Plan) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("sending", total=plan.bytes)
        yield lambda size: progress.advance(task, size)


def _show_plan(plan: Plan, client: LokiClient, console: Console) -> None:
    if not plan.lines:
        console.print(f"{client.url} has every line of these files; nothing is sent", markup=False)
        return
    figures = f"{plan.lines:,} lines of {len(plan.missing):,} segments are not in {client.url} ({plan.bytes / 1e6:,.1f} MB)"
    seconds = plan.preflight.seconds_for(plan.bytes)
    duration = "" if seconds is None else f"; about {_in_words(seconds)} at the rate that it allows"
    console.print(figures + duration, markup=False)
    if not plan.preflight.known:
        console.print("Loki does not show its configuration (/config), so what it will refuse is not known before", markup=False)
    for concern in plan.preflight.concerns:
        print(f"sqmon: {concern.text}; set {concern.yaml}", file=sys.stderr)


def _in_words(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 2 * _MINUTE_S else f"{seconds / _MINUTE_S:,.0f} min"


def _show_done(done: Done, console: Console) -> None:
    console.print(f"{done.sent:,} lines sent", markup=False)
    if done.too_old:
        console.print(f"{done.too_old:,} lines not sent: Loki does not take or keep lines so old", markup=False)
    for file, refused in done.refused:
        lines = ", ".join(f"line {line.place + 1}" for line in refused.lines[:3])
        more = f" and {len(refused.lines) - 3:,} more" if len(refused.lines) > 3 else ""  # noqa: PLR2004
        console.print(f"  {file}, {lines}{more}: refused: {refused.text[:300]}", markup=False)
        if refused.for_now:
            console.print("    Loki takes them when their stream has left its memory: run this again in half an hour", markup=False)
