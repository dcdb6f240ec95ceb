"""A moment: what the polls of every metric say at a time, and how the monitor itself was then."""

from __future__ import annotations

import datetime as dt
from typing import Any, Mapping, NamedTuple, Optional, Sequence

from sqmon.config import catalogue
from sqmon.config.typed_time import in_words
from sqmon.lifetimes.polls import Poll, Row
from sqmon.top.table import Level

Event = Mapping[str, Any]

_STALE_INTERVALS = 3
_STALE_S = 10.0
SHOWN = ("show_cluster_nodes", "show_server_status", "show_locks", "get_license_info", "get_leveldb_stats")
"""The metrics that the views show."""


class Known(NamedTuple):
    """What is known of one metric."""

    poll: Optional[Poll] = None
    """Its newest good poll."""
    last: Optional[Event] = None
    """The event of its newest poll, good or not."""
    trouble: str = ""
    """Why it has not been polled well since, "" when nothing is wrong."""
    interval_s: Optional[float] = None
    """The seconds between its polls, as far as the service says."""


class Health(NamedTuple):
    """How the monitor was, in one line."""

    level: Level
    text: str


class Moment(NamedTuple):
    """What is known at a time."""

    at_ns: int
    """The time, in nanoseconds since 1970."""
    cluster: str
    metrics: Mapping[str, Known]
    absence: str = ""
    """Why no service was polling, "" when one was."""
    events: Sequence[Event] = ()
    """The newest warnings and errors of the service, oldest first."""
    nodes_before: Optional[Poll] = None
    """The first good poll of show_cluster_nodes in the hour before."""
    problems: Sequence[str] = ()
    """What the files don't tell: lines that are missing or can't be read."""

    def rows(self, metric: str) -> Sequence[Row]:
        """Return the rows of the newest good poll of a metric."""
        poll = self.poll(metric)
        return () if poll is None else poll.rows

    def poll(self, metric: str) -> Optional[Poll]:
        """Return the newest good poll of a metric."""
        return self.metrics[metric].poll if metric in self.metrics else None

    def age_s(self, metric: str) -> Optional[float]:
        """Return how old the rows of a metric are, in seconds; None when there are none."""
        poll = self.poll(metric)
        return None if poll is None else max(0.0, (self.at_ns - poll.ended_ns) / 1e9)

    def is_stale(self, metric: str) -> bool:
        """Return whether a metric should have been polled well again by now."""
        age = self.age_s(metric)
        return age is not None and age > stale_after_s(metric, self.metrics[metric].interval_s)

    def health(self) -> Health:
        """Return how the monitor was: that all was well, or the worst of what was not."""
        seen = {name: known for name, known in self.metrics.items() if known.poll is not None or known.last is not None}
        since_ns = max((known.poll.ended_ns for known in seen.values() if known.poll is not None), default=None)
        if self.absence:
            return Health(Level.CRITICAL, f"blind{self._since(since_ns)}: {self.absence}")
        if not seen:
            return Health(Level.WARNING, "nothing is known of this time")
        failing = [name for name, known in seen.items() if known.trouble]
        if len(failing) == len(seen):
            return Health(Level.CRITICAL, f"blind{self._since(since_ns)}: {seen[failing[0]].trouble}")
        stale = [name for name in seen if self.is_stale(name)]
        if failing:
            known = seen[failing[0]]
            names = failing[0] if len(failing) == 1 else f"{len(failing)} of {len(seen)} metrics"
            return Health(Level.WARNING, f"{names} failing{self._since(known.poll.ended_ns if known.poll else None)}: {known.trouble}")
        if stale:
            oldest = max(stale, key=lambda name: self.age_s(name) or 0.0)
            what = "data" if len(stale) == len(seen) else oldest
            level = Level.CRITICAL if len(stale) == len(seen) else Level.WARNING
            return Health(level, f"{what} is {in_words(int(self.age_s(oldest) or 0))} old")
        return Health(Level.FINE, f"{len(seen)} metrics are well")

    def time(self, ns: int) -> str:
        """Return a time in this host's zone, with its date unless that is the one of the moment."""
        then = local(ns)
        return f"{then:%H:%M:%S}" if then.date() == local(self.at_ns).date() else f"{then:%Y-%m-%d %H:%M:%S}"

    def _since(self, ns: Optional[int]) -> str:
        return "" if ns is None else f" since {self.time(ns)}"


def stale_after_s(metric: str, interval_s: Optional[float]) -> float:
    """Return the age in seconds from which the rows of a metric are too old."""
    function = catalogue.FUNCTIONS.get(metric)
    interval = interval_s or (function.interval if function else _STALE_S)
    return max(_STALE_S, _STALE_INTERVALS * interval)


def local(ns: int) -> dt.datetime:
    """Return a time in nanoseconds since 1970 in this host's zone, in whole seconds."""
    return dt.datetime.fromtimestamp(ns // 10**9, dt.timezone.utc).astimezone()
