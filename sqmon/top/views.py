"""The views in SQream's order of diagnosis, each with its key, its badge, and the metrics that it shows."""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

from sqmon.lifetimes import licence, locks, nodes, statements
from sqmon.top.licence_view import licence as licence_table
from sqmon.top.licence_view import used_ratio
from sqmon.top.lock_view import locks as lock_table
from sqmon.top.monitor_view import monitor as monitor_table
from sqmon.top.picture import Picture
from sqmon.top.statement_views import queue_level, queued, running
from sqmon.top.table import Level, Table
from sqmon.top.worker_view import workers


class View(NamedTuple):
    """One view."""

    name: str
    short: str
    """Its name where there is little room."""
    metrics: Sequence[str]
    """What it shows; the first is the one whose polls are stepped through. Without any, the events are."""
    table: Callable[[Picture], Table]
    badge: Callable[[Picture], str]
    """What is said of it beside its name, also while another one is shown."""
    level: Callable[[Picture, Table], Level]
    """How bad the worst in it is."""


def _worst(_: Picture, table: Table) -> Level:
    return max((row.level for row in table.rows()), default=Level.FINE)


def _deep(picture: Picture, table: Table) -> Level:
    return max(_worst(picture, table), queue_level(picture))


def _used(picture: Picture) -> str:
    ratio = used_ratio(picture)
    return "" if ratio is None else f"{ratio:.0%}"


def _held(picture: Picture) -> str:
    held, waits = sum(map(len, picture.locks.values())), len(picture.waits)
    return f"{held}, {waits} wait" if waits else str(held)


VIEWS = (
    View(
        "workers", "work", (nodes.METRIC, statements.METRIC), workers, lambda picture: str(len(picture.moment.rows(nodes.METRIC))), _worst
    ),
    View("running", "run", (statements.METRIC, locks.METRIC), running, lambda picture: str(len(picture.running())), _worst),
    View("queued", "queue", (statements.METRIC,), queued, lambda picture: str(len(picture.queued())), _deep),
    View("locks", "locks", (locks.METRIC, statements.METRIC), lock_table, _held, _worst),
    View("licence", "lic", (licence.METRIC,), licence_table, _used, _worst),
    View("monitor", "mon", (), monitor_table, lambda _: "", lambda picture, _: picture.moment.health().level),
)
