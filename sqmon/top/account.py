"""The account that the events of a service give of it, one after the other, and the moment that follows from them."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from typing import Collection, Mapping, Optional, Sequence

from sqmon.clock import stamp_ns
from sqmon.config import catalogue
from sqmon.lifetimes.gaps import Gaps
from sqmon.lifetimes.polls import Poll
from sqmon.top.moment import Event, Known, Moment

_EVENTS = 20
_ROUNDING_NS = 1000  # durations are told in whole microseconds
_QUIET = ("poll",)  # what fails is told for each metric, and gaps sum it up
_ABSENCES = {"stopped": "the service was stopped"}


class Account:
    """Takes the events of the `sqmon` stream in their order."""

    def __init__(self) -> None:
        self.cluster = ""
        """The name of the cluster, as far as an event says it."""
        self.newest: Optional[Event] = None
        """The newest event."""
        self._gaps = Gaps()
        self._last: dict[str, Event] = {}
        self._good: dict[str, Event] = {}
        self._events: deque[Event] = deque(maxlen=_EVENTS)

    @property
    def polled(self) -> Collection[str]:
        """The metrics that have been polled well."""
        return self._good.keys()

    def take(self, event: Event) -> None:
        """Take an event."""
        self._gaps.take(event)
        self.newest = event
        kind, target = event.get("event"), str(event.get("target", ""))
        self.cluster = str(event.get("cluster") or self.cluster)
        if kind == "config_reloaded":
            for name in str(event.get("removed") or "").split(", "):
                self._last.pop(name, None)
                self._good.pop(name, None)
        elif kind == "poll" and event.get("status") != "skipped":
            self._last[target] = event
            if event.get("status") in ("ok", "empty"):
                self._good[target] = event
        if event.get("level") in ("warning", "error") and kind not in _QUIET:
            self._events.append(event)

    def ended_ns(self, metric: str, run_id: str, poll: int) -> Optional[int]:
        """Return when a poll had ended, if it is the newest good one of its metric."""
        event = self._good.get(metric, {})
        if (event.get("target_run_id"), event.get("poll")) != (run_id, poll):
            return None
        with contextlib.suppress(KeyError, TypeError, ValueError):  # a line that somebody else has written, or an older sqmon
            return stamp_ns(event["began"]) + math.ceil(float(event["duration_ms"]) * 1e6) + _ROUNDING_NS
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return stamp_ns(event["ts"])
        return None

    def moment(
        self,
        at_ns: int,
        polls: Mapping[str, Poll],
        *,
        running: bool,
        intervals: Mapping[str, float],
        cluster: str = "",
        nodes_before: Optional[Poll] = None,
        problems: Sequence[str] = (),
    ) -> Moment:
        """Return the moment at a time after the newest event, with these polls; `running` is whether a service was polling then.

        `intervals` are the seconds between the polls of the metrics, as far as they are known.
        """
        troubles = {gap.target: gap.reason for gap in self._gaps.ongoing(running=running)}
        names = [name for name in catalogue.FUNCTIONS if name in self._last]
        names += [name for name in self._last if name not in catalogue.FUNCTIONS]
        known = {
            name: Known(polls.get(name), self._last.get(name), troubles.get(name, "") if running else "", intervals.get(name))
            for name in names
        }
        absence = ""
        if not running and (known or troubles):
            reason = next(iter(troubles.values()), "stopped" if self._gaps.stopped else "")
            absence = _ABSENCES.get(reason, "the service was killed")
        return Moment(at_ns, cluster or self.cluster, known, absence, [*self._events], nodes_before, problems)
