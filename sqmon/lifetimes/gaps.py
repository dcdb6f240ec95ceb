"""When a monitor was blind: ranges of time in which a metric was not polled or its records were lost, each with its reason."""

from __future__ import annotations

import contextlib
from typing import Any, Collection, Mapping, NamedTuple, Optional

from sqmon.clock import stamp_ns
from sqmon.lifetimes.lines import METRIC

_GOOD = ("ok", "empty")


class Gap(NamedTuple):
    """A range of time in which nothing is known of a metric."""

    target: str
    """The metric."""
    since_ns: int
    until_ns: Optional[int]
    """None while it goes on."""
    reason: str
    first_seq: Optional[int] = None
    """With `last_seq`, the records that were lost; None where nothing was polled."""
    last_seq: Optional[int] = None


class _Target:
    """What is known of one metric."""

    def __init__(self, seen_ns: int) -> None:
        self.seen_ns = seen_ns
        """The end of its last good poll, or its beginning before there is one."""
        self.reason = ""
        """Why it has not been polled well since."""


class Gaps:
    """Collects gaps from the events of the `sqmon` stream, in their order."""

    def __init__(self) -> None:
        self.first_ns: Optional[int] = None
        """When the first event was written: before, nothing is known."""
        self.stopped = False
        """Whether the newest service has ended by itself."""
        self._targets: dict[str, _Target] = {}

    def take(self, event: Mapping[str, Any]) -> Optional[Gap]:
        """Take an event, and return the gap that it tells of."""
        with contextlib.suppress(KeyError, TypeError, ValueError):  # a line that somebody else has written
            return self._taken(event, stamp_ns(event["ts"]))
        return None

    @property
    def targets(self) -> Collection[str]:
        """The metrics that are polled, well or not, as far as events have told."""
        return self._targets.keys()

    def seen_by_all_ns(self) -> int:
        """Return until when every metric was polled well, in nanoseconds since 1970; 0 where none was polled."""
        return min((target.seen_ns for target in self._targets.values()), default=0)

    def ongoing(self, *, running: bool) -> list[Gap]:
        """Return the gaps that go on: those of metrics that fail, and of all metrics when no service is `running`."""
        absence = "" if running else "stopped" if self.stopped else "no sqmon is running, and the last one was killed"
        return [
            Gap(name, target.seen_ns, None, absence or target.reason) for name, target in self._targets.items() if absence or target.reason
        ]

    def _taken(self, event: Mapping[str, Any], at_ns: int) -> Optional[Gap]:
        self.first_ns = at_ns if self.first_ns is None else self.first_ns
        kind = event["event"]
        if kind in ("start", "stop"):
            self.stopped = kind == "stop"
        elif kind == "config_reloaded":
            for name in str(event.get("removed") or "").split(", "):
                self._targets.pop(name, None)
        elif kind in ("poll", "worker_start", "worker_exit", "gap") and event["target"] != METRIC:  # lifetimes miss nothing
            target = self._targets.setdefault(event["target"], _Target(at_ns))
            if kind == "gap":
                return self._told(target, event)
            if kind == "poll" and event["status"] in _GOOD:
                target.seen_ns, target.reason = at_ns, ""
            elif event.get("error") or (kind == "worker_exit" and event.get("kind") != "stopped"):
                target.reason = target.reason or str(event.get("error") or event.get("reason"))
        return None

    def _told(self, target: _Target, event: Mapping[str, Any]) -> Gap:
        gap = Gap(
            event["target"],
            stamp_ns(event["since"]),
            stamp_ns(event["until"]),
            str(event["reason"]),
            event.get("first_seq"),
            event.get("last_seq"),
        )
        if gap.first_seq is None:
            target.seen_ns, target.reason = max(target.seen_ns, gap.until_ns or 0), ""
        return gap
