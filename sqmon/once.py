"""`sqmon once`: one poll of each metric, records to stdout, nothing written anywhere."""

from __future__ import annotations

import contextlib
import time
from typing import BinaryIO, Optional, Sequence

from sqmon import catalogue
from sqmon.computed import Computation, zone_of
from sqmon.config import Connection, Metric
from sqmon.database import Database
from sqmon.errors import ConfigError
from sqmon.metrics_file import parse
from sqmon.record import Encoder, new_run_id


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
            chosen += parse(f'{{"{name}": {interval}}}'.encode(), "METRIC", query_timeout)
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
            columns, rows = computation.extended(result.columns, result.rows, began)
            encoder = Encoder(metric.name, new_run_id(began))
            out.writelines(batch.data for batch in encoder.rows(columns, rows, poll=1, started_ns=began))
            out.flush()
