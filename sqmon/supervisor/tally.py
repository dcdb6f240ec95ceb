"""The tally of one metric: its counters, and the outage that the next `gap` event will report."""

from __future__ import annotations

from typing import Any, Optional

from sqmon.clock import utc_stamp
from sqmon.config.settings import Metric
from sqmon.ipc.reports import Pending, Polled
from sqmon.supervisor.absence import Absence

_LONGER_THAN = 1.5  # intervals; a worker that is back sooner has missed nothing


class Outage:
    """The time since a metric's last good poll, or since the start of the service, and the reason why polls were missed in it."""

    def __init__(self, started_ns: int) -> None:
        self._since_ns = started_ns
        self.reason = ""
        """The first failure; "" while no polls are missing."""
        self.latest = ""
        """The latest failure: the database may have been gone first, and refuse the password now."""
        self.run_id = ""
        self._certain = False  # a gap, however short

    def absent(self, absence: Absence) -> None:
        """Begin with what the service before this one left unseen, which is a gap however short it was."""
        self._since_ns, self.reason, self.run_id = absence
        self._certain = True

    def failed(self, reason: str, run_id: str) -> None:
        """Note a failure: the first one becomes the reason of the `gap`, the latest one is what the status shows."""
        self.latest = reason
        if not self.reason:
            self.reason, self.run_id = reason, run_id

    def polled(self, now_ns: int, metric: Metric) -> Optional[dict[str, Any]]:
        """Note a good poll that ended now; return the fields of a `gap` event if polls were missed before it."""
        # When the clock was set back, nobody knows how long the outage was, so it is not taken for a short one.
        missed = self._certain or not 0 <= now_ns - self._since_ns <= _LONGER_THAN * 1e9 * metric.interval
        gap = self.gap(now_ns) if self.reason and missed else None
        self._since_ns, self.reason, self.latest, self._certain = now_ns, "", "", False
        return gap and {"target": metric.name, **gap}

    def gap(self, now_ns: int) -> dict[str, Any]:
        """Return the reason, the beginning and the end of a gap that ends now."""
        since_ns = min(self._since_ns, now_ns)  # the clock may have been set back
        return {
            "target_run_id": self.run_id,
            "reason": self.reason,
            "since": utc_stamp(since_ns),
            "until": utc_stamp(now_ns),
            "lasted_s": round((now_ns - since_ns) / 1e9, 3),
        }


class Tally:
    """The counters of one metric since the service started."""

    def __init__(self, started_ns: int) -> None:
        self.polls = 0
        self.failed_polls = 0
        self.skipped = 0
        self.records = 0
        self.dropped = 0
        self.restarts = 0
        self.last_poll: Optional[Polled] = None
        self.last_success_ns: Optional[int] = None
        self.pending = Pending("", 0)
        self.disk_since: Optional[float] = None
        """Since when the worker has waited for the disk, in monotonic seconds; None while it does something else."""
        self.outage = Outage(started_ns)

    def disk_silence(self, now: float) -> float:
        """Return for how many seconds the worker has been waiting for the disk."""
        return 0.0 if self.disk_since is None else now - self.disk_since
