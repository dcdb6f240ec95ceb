"""`sqmon once`: one poll of each metric, records to stdout, nothing written anywhere."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from typing import BinaryIO, Optional, Sequence

from sqmon.cli import exit_codes
from sqmon.config import arguments, catalogue, metrics_file, options, settings
from sqmon.config.settings import Connection, Metric
from sqmon.config.time_zone import zone_of
from sqmon.database.client import Database
from sqmon.errors import ConfigError
from sqmon.records.computed import Computation
from sqmon.records.encoder import PART_ROWS, Encoder, new_run_id

OPTIONS = {title: options.GROUPS[title] for title in ("SQreamDB", "polling")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the names of the metrics."""
    parser.add_argument(
        "metrics",
        nargs="*",
        metavar="METRIC",
        help="names from the metrics file or the catalogue (default: the file's)",
    )


def run(args: argparse.Namespace) -> int:
    """Poll each metric once and print its records."""
    metrics = metrics_file.read(args.metrics_file or settings.default_metrics_file(), args.query_timeout)
    poll(arguments.connection_of(args), select(metrics, args.metrics, args.query_timeout), sys.stdout.buffer)
    return exit_codes.OK


def select(metrics: list[Metric], names: Sequence[str], query_timeout: Optional[float]) -> list[Metric]:
    """Return the metrics called `names`, all for none: those of the metrics file, else functions of the catalogue. Raises ConfigError."""
    if not names:
        return [metric for metric in metrics if not metric.is_command]
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


def poll(connection: Connection, metrics: list[Metric], out: BinaryIO) -> None:
    """Write the rows of each metric as records; raises DatabaseError at the first failure."""
    zone = zone_of(connection.server_timezone)
    with contextlib.closing(Database(connection)) as database:
        database.connect(metrics[0].timeout)
        for metric in metrics:
            began = time.time_ns()
            database.execute(metric.query, metric.timeout)
            result = database.fetch(metric.timeout)
            computation = Computation(metric.name, query=metric.query, user=connection.user, zone=zone)
            encoder, when = Encoder(metric.name, new_run_id(began)), computation.at(began)
            for part in result.parts(PART_ROWS):
                extended = computation.extended(part, when)
                out.writelines(batch.data for batch in encoder.part(extended, poll=1, poll_rows=result.rows, started_ns=began))
            out.flush()
