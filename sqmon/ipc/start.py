"""Where every process of ours but the first begins: it names its module, since the supervisor must not import what that needs."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from sqmon.config.settings import Connection, Metric, Output, SqlMode

WORKER, PROBE = "sqmon.worker.process", "sqmon.worker.check_probe"


@dataclass(frozen=True)
class Start:
    """All that a worker is ever told."""

    metric: Metric
    run_id: str
    connection: Connection
    output: Output
    sql: SqlMode


def run_module(module: str, *args: object) -> None:
    """Call the `main` of a module; the forkserver has imported it long since."""
    importlib.import_module(module).main(*args)
