"""Retention as the running service applies it: a sweep now and then, and an event for each segment that is deleted."""

from __future__ import annotations

from collections import deque
from typing import Optional

from sqmon.clock import Clock
from sqmon.config.settings import Retention, SegmentOutput
from sqmon.side_thread import SideThread
from sqmon.storage.agent_positions import NOTHING_KNOWN, read_positions
from sqmon.storage.retention import Deleted, Knowledge, RetentionLimits, active_segments, enforce, last_written_ns
from sqmon.storage.steady_time import SteadyTime
from sqmon.supervisor.event_stream import EventStream

_EVERY_SECONDS = 30.0
_SHARE = 10  # a sweep of very many segments may take at most one part in so many of the time
_EVENTS_AT_ONCE = 500
_CLOSE_SECONDS = 1.0


class Sweeper:
    """Keeps one log directory within its limits; a side thread scans the directory and deletes."""

    def __init__(self, output: SegmentOutput, retention: Retention, events: EventStream, *, clock: Clock) -> None:
        self._output = output
        self._limits = RetentionLimits(retention.seconds, retention.bytes, retention.min_free_bytes)
        self._positions_file = retention.agent_positions
        self._events = events
        self._clock = clock
        self._time: Optional[SteadyTime] = None
        self._next = 0.0
        self._sweeping = False
        self._deleted: deque[Deleted] = deque()  # filled by the side thread, emptied by `sweep`
        self._thread = SideThread("sweeper", self._enforce, room=1)

    def sweep(self, now: float) -> None:
        """Have a sweep begin when one is due, and write an event for each segment that was deleted since the last call; never waits.

        The events say what an agent may not have read.
        """
        for _ in range(min(len(self._deleted), _EVENTS_AT_ONCE)):
            self._tell(self._deleted.popleft())
        if now >= self._next and not self._sweeping and not self._deleted:
            self._sweeping = True
            self._thread.offer(self._limits)

    def close(self) -> None:
        """Write the remaining events; a sweep that takes longer than a moment is not waited for."""
        self._thread.end(_CLOSE_SECONDS)
        while self._deleted:
            self._tell(self._deleted.popleft())

    def _enforce(self, limits: RetentionLimits) -> None:
        began = self._clock.monotonic()
        log_dir = self._output.log_dir
        self._time = self._time or SteadyTime(self._clock, last_written_ns(log_dir))
        now_ns = self._time.now_ns()
        active = active_segments(log_dir, now_ns=now_ns, lifetime_s=self._output.options.max_age_s)
        positions = (read_positions(self._positions_file) or NOTHING_KNOWN) if self._positions_file else None
        for deleted in enforce(log_dir, limits, active=active, now_ns=now_ns, positions=positions):
            self._deleted.append(deleted)
        ended = self._clock.monotonic()
        self._next = ended + max(_EVERY_SECONDS, _SHARE * (ended - began))
        self._sweeping = False

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
