"""Retention as the running service applies it: a sweep now and then, and an event for each segment that had to go."""

from __future__ import annotations

from typing import Optional

from sqmon.clock import Clock
from sqmon.config.settings import Retention, SegmentOutput
from sqmon.storage.agent_positions import NOTHING_KNOWN, read_positions
from sqmon.storage.retention import Deleted, Knowledge, RetentionLimits, active_segments, enforce, last_written_ns
from sqmon.storage.steady_time import SteadyTime
from sqmon.supervisor.event_stream import EventStream

_EVERY_SECONDS = 30.0


class Sweeper:
    """Looks after the size of one log directory."""

    def __init__(self, output: SegmentOutput, retention: Retention, events: EventStream, *, clock: Clock) -> None:
        self._output = output
        self._limits = RetentionLimits(retention.seconds, retention.bytes, retention.min_free_bytes)
        self._positions_file = retention.agent_positions
        self._events = events
        self._clock = clock
        self._time: Optional[SteadyTime] = None
        self._next = 0.0

    def sweep(self, now: float) -> None:
        """Delete what exceeds the limits, if the last look was long enough ago; the event says what an agent may not have read."""
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        log_dir = self._output.log_dir
        self._time = self._time or SteadyTime(self._clock, last_written_ns(log_dir))
        now_ns = self._time.now_ns()
        active = active_segments(log_dir, now_ns=now_ns, lifetime_s=self._output.options.max_age_s)
        positions = (read_positions(self._positions_file) or NOTHING_KNOWN) if self._positions_file else None
        for deleted in enforce(log_dir, self._limits, active=active, now_ns=now_ns, positions=positions):
            self._tell(deleted)

    def _tell(self, deleted: Deleted) -> None:
        unread: dict[str, object] = {}
        if deleted.unread_bytes:
            unread["not_known_to_be_read"] = deleted.unread_bytes
        if deleted.unread is not None:
            named = deleted.unread._asdict()
            unread.update(target=named.pop("metric"), target_run_id=named.pop("run_id"), **named)
        # Alloy's position of a sealed segment is usually some lines short: a warning for each would hide the others.
        level = "warning" if deleted.knowledge is Knowledge.UNKNOWN else "info"
        self._events.write(level, "segment_deleted", file=deleted.file, bytes=deleted.bytes, reason=deleted.reason, **unread)
