"""`sqmon verify`: checks that the files of a service are complete and unaltered."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sqmon.cli import exit_codes
from sqmon.config import options, settings
from sqmon.delivery.verify import Problem, Verdict, verify

OPTIONS = {
    "files": options.named("log_dir"),
    "verify": (options.Option("json", False, "one JSON object, for programs"),),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the directory, which may also be given as an option."""
    parser.add_argument(
        "directory", nargs="?", type=Path, metavar="DIR", help="directory of a service, or a copy of it (default: --log_dir)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the proof, or what is wrong."""
    began = time.monotonic()
    verdict = verify(args.directory or args.log_dir or settings.log_dir_to_read())
    console = Console()
    if args.json:
        console.out(msgspec.json.encode(msgspec.to_builtins(_named(verdict))).decode(), highlight=False)
    else:
        _show(verdict, time.monotonic() - began, console)
    return exit_codes.OK if verdict.proved else exit_codes.FAILED


def _named(verdict: Verdict) -> dict[str, object]:
    streams, problems = ([each._asdict() for each in found] for found in (verdict.streams, verdict.problems))
    return {**verdict._asdict(), "streams": streams, "problems": problems}


def _show(verdict: Verdict, seconds: float, console: Console) -> None:
    segments, lines, size = (sum(getattr(stream, name) for stream in verdict.streams) for name in ("segments", "lines", "bytes"))
    word = Text("PROVED", "bold green") if verdict.proved else Text("NOT PROVED", "bold red")
    figures = f": {segments:,} segments, {lines:,} lines, {size / 1e6:,.1f} MB in {verdict.log_dir}, read in {seconds:.1f} s"
    console.print(word + Text(figures), soft_wrap=True)
    for problem in verdict.problems:
        console.print(Text(f"  {_sentence(problem)}", style="red"), soft_wrap=True)
    console.print()
    console.print(_table(verdict))
    unsealed = sum(len(stream.unsealed) for stream in verdict.streams)
    if unsealed:
        text = f"\nNothing vouches for what has no seal yet ({unsealed} of the segments): it is being written, or the next start seals it."
        console.print(text, highlight=False, soft_wrap=True)


def _sentence(problem: Problem) -> str:
    seq = ""
    if problem.last_seq:
        seq = f", seq {problem.first_seq}" + (f"-{problem.last_seq}" if problem.last_seq > problem.first_seq else "")
    run = f" of run {problem.run_id}" if problem.run_id else ""
    return f"{problem.file}{seq}{run}: {problem.text} ({problem.kind})"


def _table(verdict: Verdict) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits into 80 columns
    table.add_column("stream", no_wrap=True)
    for heading in ("segments", "unsealed", "lines", "lost", "gaps"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("newest seal", no_wrap=True)
    for each in verdict.streams:
        figures = (each.segments, len(each.unsealed), each.lines, each.lost, each.blind)
        table.add_row(each.stream, *(str(figure) for figure in figures), each.head[:16])
    return table
