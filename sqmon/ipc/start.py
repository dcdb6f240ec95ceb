"""What a worker is told at its start, and by which names the supervisor calls modules that it must not import itself."""

from __future__ import annotations

from dataclasses import dataclass

from sqmon.config.settings import Connection, Metric, Output, SqlMode

FORKSERVER, WORKER, PROBE = "sqmon.worker.forkserver", "sqmon.worker.process", "sqmon.worker.check_probe"
ARCHIVER = "sqmon.worker.archiver"


@dataclass(frozen=True)
class Start:
    """All that a worker is ever told."""

    metric: Metric
    run_id: str
    connection: Connection
    output: Output
    sql: SqlMode
