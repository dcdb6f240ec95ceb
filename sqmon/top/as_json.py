"""A moment as one object for programs: the records of each metric as they are, and what follows from them."""

from __future__ import annotations

from typing import Any, Optional

from sqmon.clock import utc_stamp
from sqmon.lifetimes import licence, locks, nodes
from sqmon.top.moment import Known, Moment
from sqmon.top.picture import Picture
from sqmon.top.worker_view import STATS, gone


def as_json(picture: Picture) -> dict[str, Any]:
    """Return what is known of a moment; times are UTC, and the records have the column names of the catalogue."""
    moment, health = picture.moment, picture.moment.health()
    return {
        "at": utc_stamp(moment.at_ns),
        "cluster": moment.cluster,
        "health": {"level": health.level.name.lower(), "text": health.text},
        "metrics": {name: _metric(moment, name, known) for name, known in moment.metrics.items()},
        "workers": [*moment.rows(nodes.METRIC)],
        "workers_gone": [*gone(picture)],
        "running": picture.running(),
        "queued": picture.queued(),
        "locks": [*moment.rows(locks.METRIC)],
        "waits": [*picture.waits.values()],
        "licence": next(iter(moment.rows(licence.METRIC)), None),
        "metadata": [*moment.rows(STATS)],
        "events": [*moment.events],
        "problems": [*moment.problems],
    }


def _metric(moment: Moment, name: str, known: Known) -> dict[str, Any]:
    return {
        "status": (known.last or {}).get("status"),
        "began": _stamp(known.poll.began_ns if known.poll else None),
        "ended": _stamp(known.poll.ended_ns if known.poll else None),
        "age_s": moment.age_s(name),
        "rows": len(known.poll.rows) if known.poll else None,
        "interval_s": known.interval_s,
        "trouble": known.trouble,
    }


def _stamp(ns: Optional[int]) -> Optional[str]:
    return None if ns is None else utc_stamp(ns)
