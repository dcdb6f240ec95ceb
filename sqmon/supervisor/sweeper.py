"""Retention as the running service applies it: now and then, an event for each segment that had to go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

from sqmon.clock import Clock
from sqmon.config.settings import Retention
from sqmon.storage.agent_positions import read_positions
from sqmon.storage.retention import Deleted, RetentionLimits, enforce
from sqmon.supervisor.event_stream import EventStream

_EVERY_SECONDS = 30.0


class Sweeper:
    """Looks after the size of one log directory."""

    def __init__(self, log_dir: Path, retention: Retention, events: EventStream, *, clock: Clock) -> None:
        self._log_dir = log_dir
        self._limits = RetentionLimits(retention.seconds, retention.bytes, retention.min_free_bytes)
        self._positions_file = retention.agent_positions
        self._events = events
        self._clock = clock
        self._next = 0.0

    def sweep(self, now: float) -> None:
        """Delete what exceeds the limits, if the last look was long enough ago; what an agent has missed by that is a gap."""
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        # A positions file that can't be read tells of nothing read, so nothing goes for its age alone.
        positions = (read_positions(self._positions_file) or {}) if self._positions_file else None
        for deleted in enforce(self._log_dir, self._limits, active=self._active(), now_ns=self._clock.time_ns(), positions=positions):
            self._tell(deleted)

    def _active(self) -> list[Path]:
        """Return the segments that are being written, as the links in `current` have it."""
        try:
            return [Path(os.path.realpath(link)) for link in (self._log_dir / "current").iterdir()]
        except OSError:
            return []

    def _tell(self, deleted: Deleted) -> None:
        missed: Optional[dict[str, object]] = None
        if deleted.missed is not None:
            missed = deleted.missed._asdict()
            target, run_id = missed.pop("metric"), missed.pop("run_id")
            reason = "deleted before the agent has read it"
            self._events.write("error", "gap", target=target, target_run_id=run_id, reason=reason, **missed)
        level = "warning" if missed else "info"
        self._events.write(level, "segment_deleted", file=deleted.file, bytes=deleted.bytes, reason=deleted.reason)
