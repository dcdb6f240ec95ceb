"""`sqmon once`: one poll of each metric, records to stdout, nothing written anywhere."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import BinaryIO, Callable, Iterable, Iterator, Optional, Sequence

from sqmon.cli import exit_codes
from sqmon.cli.shown_lines import shown_lines
from sqmon.config import arguments, catalogue, metrics_file, options, settings
from sqmon.config.settings import Connection, Metric, SqlMode
from sqmon.database.single_polls import poll_each
from sqmon.errors import ConfigError, SqmonError, shown
from sqmon.records.encoder import Encoder, new_run_id
from sqmon.records.pipeline import Pipeline

OPTIONS = {
    **{title: options.GROUPS[title] for title in ("SQreamDB", "polling")},
    "clusters": options.named("clusters_dir", "cluster"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the names of the metrics."""
    parser.add_argument(
        "metrics",
        nargs="*",
        metavar="METRIC",
        help="names from the metrics file or the catalogue (default: the file's)",
    )
    parser.add_argument("--table", action="store_true", help="print a table for each metric instead of records")


def run(args: argparse.Namespace) -> int:
    """Poll each metric once and print its records; say on stderr which failed."""
    failures = []
    if args.clusters_dir is None:
        metrics = metrics_file.read(args.metrics_file or settings.default_metrics_file(), args.query_timeout)
        failures += _once(args, arguments.connection_of(args), metrics, args.cluster)
    for each in arguments.clusters_of(args):
        if each.problems:
            failures += each.problems
            continue
        try:
            failures += [f"{each.name}: {failure}" for failure in _once(args, each.connection, each.metrics, each.name)]
        except SqmonError as error:
            failures.append(f"{each.name}: {error}")
    for failure in failures:
        print(f"sqmon: {shown(failure)}", file=sys.stderr)
    return exit_codes.FAILED if failures else exit_codes.OK


def _once(args: argparse.Namespace, connection: Connection, metrics: list[Metric], cluster: str) -> list[str]:
    chosen = select(metrics, args.metrics, args.query_timeout)
    form = as_table if args.table else as_shown if sys.stdout.isatty() else as_they_are
    return poll(connection, chosen, args.sql, sys.stdout.buffer, form=form, cluster=cluster)


def select(metrics: list[Metric], names: Sequence[str], query_timeout: Optional[float]) -> list[Metric]:
    """Return the metrics called `names`, all for none: those of the metrics file, else functions of the catalogue. Raises ConfigError."""
    if not names:
        chosen = [metric for metric in metrics if not metric.is_command]
        if not chosen:
            raise ConfigError(["nothing is polled: the metrics file only names what changes the server"])
        return chosen
    configured = {metric.name: metric for metric in metrics}
    chosen, problems = [], []
    for name in names:
        if name in configured:
            chosen.append(configured[name])
            continue
        interval = catalogue.FUNCTIONS[name].interval if name in catalogue.FUNCTIONS else 60
        try:
            chosen += metrics_file.parse(f'{{"{name}": {interval}}}'.encode(), "METRIC", query_timeout)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return chosen


Form = Callable[[str, int, Iterator[bytes]], Iterable[bytes]]
"""Makes what is printed of a metric, of the time of its poll in nanoseconds since 1970, and of its lines in pieces."""


def as_they_are(_metric: str, _began_ns: int, lines: Iterator[bytes]) -> Iterable[bytes]:
    """Print the records as a file gets them."""
    return lines


def as_shown(_metric: str, _began_ns: int, lines: Iterator[bytes]) -> Iterable[bytes]:
    """Print the records as a terminal can bear them."""
    return map(shown_lines, lines)


def as_table(metric: str, began_ns: int, lines: Iterator[bytes]) -> Iterable[bytes]:
    """Print a table for people."""
    from sqmon.cli import logs_polls  # noqa: PLC0415 - records are printed without it, and sooner

    records = [json.loads(line) for line in b"".join(lines).splitlines()]
    return logs_polls.printed(metric, began_ns, records)


def poll(
    connection: Connection, metrics: list[Metric], sql: SqlMode, out: BinaryIO, *, form: Optional[Form] = None, cluster: str = ""
) -> list[str]:
    """Write the records of each metric in a form; return a line for each metric that failed. Raises SqmonError when a login fails."""
    failures = []
    for answer in poll_each(connection, metrics):
        metric, began = answer.metric, answer.began_ns
        if answer.result is None:
            failures.append(f"{metric.name}: {answer.error}")
            continue
        pipeline = Pipeline(metric, connection, sql, Encoder(metric.name, new_run_id(began), cluster=cluster))
        batches = pipeline.lines(answer.result, poll=1, now=time.monotonic(), started_ns=began)
        out.writelines((form or as_they_are)(metric.name, began, (batch.data for batch in batches)))
        out.flush()
    return failures
