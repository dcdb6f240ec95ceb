"""One poll of each of several metrics, where a failing metric does not stop the others; used by `check` and `once`."""

from __future__ import annotations

import time
from typing import Iterable, Iterator, NamedTuple, Optional

from sqmon.config.settings import Connection, Metric
from sqmon.database.client import Database
from sqmon.errors import DatabaseError
from sqmon.result import Result


class Answer(NamedTuple):
    """What came of one poll."""

    metric: Metric
    began_ns: int
    seconds: float
    result: Optional[Result]
    error: Optional[DatabaseError]
    """Why there is no result."""


def poll_each(connection: Connection, metrics: Iterable[Metric], *, longest: float = float("inf")) -> Iterator[Answer]:
    """Yield the answers in order; a login or a poll may take the metric's timeout, and no more than `longest` seconds.

    An error ends a connection, so the next metric gets a new one. Raises SqmonError when a login fails: the next ones would, too.
    """
    database: Optional[Database] = None
    try:
        for metric in metrics:
            limit = min(metric.timeout, longest)
            if database is None:
                database = Database(connection)
                database.connect(limit)
            began, began_ns = time.monotonic(), time.time_ns()
            result = error = None
            try:
                database.execute(metric.query, limit)
                result = database.fetch(limit)
            except DatabaseError as failure:
                error = failure
                database.close()
                database = None
            yield Answer(metric, began_ns, time.monotonic() - began, result, error)
    finally:
        if database is not None:
            database.close()
