"""The start arguments of a worker, and the modules that the supervisor starts by name because it must not import them."""

from __future__ import annotations

from dataclasses import dataclass

from sqmon.config.settings import Connection, Metric, Output, SqlMode

FORKSERVER, WORKER, PROBE = "sqmon.worker.forkserver", "sqmon.worker.process", "sqmon.worker.check_probe"
ARCHIVER, LIFETIMES = "sqmon.worker.archiver", "sqmon.lifetimes.process"


@dataclass(frozen=True)
class Start:
    """All that a worker is ever told."""

    metric: Metric
    run_id: str
    connection: Connection
    output: Output
    sql: SqlMode
