"""The sweeper: applies retention from time to time in a side thread, and writes an event for each segment affected."""

from __future__ import annotations

from collections import deque
from typing import Optional

from sqmon.clock import Clock
from sqmon.config.settings import Retention, SegmentOutput
from sqmon.side_thread import Crew, SideThread
from sqmon.storage.agent_positions import NOTHING_KNOWN, AgentFile, Positions, find
from sqmon.storage.compression import Source
from sqmon.storage.knowledge import Knowledge
from sqmon.storage.retention import Deleted, RetentionLimits, active_segments, enforce, last_written_ns, to_compress
from sqmon.storage.steady_time import SteadyTime
from sqmon.supervisor.archivist import Archivist, unread_fields
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.proofs import Proofs

_EVERY_SECONDS = 30.0
_SOON_SECONDS = 2.0  # after which a new seal makes a sweep begin, since its segment may be compressed
_SHARE = 10  # a sweep of very many segments may take at most one part in so many of the time
_EVENTS_AT_ONCE = 500
_CLOSE_SECONDS = 1.0


class Sweeper:
    """Keeps one log directory within its limits; a side thread scans the directory and deletes."""

    def __init__(
        self,
        output: SegmentOutput,
        retention: Retention,
        events: EventStream,
        archivist: Archivist,
        *,
        clock: Clock,
        crew: Optional[Crew] = None,
    ) -> None:
        self._output = output
        self._retention = retention
        self._limits = RetentionLimits(retention.seconds, retention.bytes, retention.min_free_bytes)
        self._events = events
        self._clock = clock
        self._archivist = archivist if retention.compress else None
        self.agent: Optional[AgentFile] = None
        """The agent's positions file, as the last sweep found it; None before the first, and in file-only mode."""
        self.proofs = Proofs(output.log_dir, events, clock=clock)
        self._time: Optional[SteadyTime] = None
        self._next = self._soon = 0.0
        self._seals_told = 0
        self._sweeping = False
        self._deleted: deque[Deleted] = deque()  # filled by the side thread, emptied by `sweep`
        self._due: list[Source] = []  # likewise
        self._thread = SideThread("sweeper", self._sweep, room=1, crew=crew)

    def sweep(self, now: float) -> None:
        """Have a sweep begin when one is due, and write an event for each segment that was deleted since the last call; never waits.

        The events say what an agent may not have read.
        """
        for _ in range(min(len(self._deleted), _EVENTS_AT_ONCE)):
            self._tell(self._deleted.popleft())
        self.proofs.tell()
        if self._archivist is not None:
            self._archivist.look(now)
            if self._events.seals_told != self._seals_told:
                self._next = min(self._next, self._soon)
            if self._due and not self._sweeping:
                due, self._due = self._due, []
                self._archivist.offer(due)
        if now >= self._next and not self._sweeping and not self._deleted:
            self._sweeping, self._seals_told = True, self._events.seals_told
            self._thread.offer(self._limits)

    def stop(self) -> None:
        """End an archiver that is at work; `close` is to follow."""
        if self._archivist is not None:
            self._archivist.close()

    def close(self) -> None:
        """Write the remaining events; a sweep that takes longer than a moment is not waited for."""
        self._thread.end(_CLOSE_SECONDS)
        while self._deleted:
            self._tell(self._deleted.popleft())

    def _sweep(self, limits: RetentionLimits) -> None:
        began = self._clock.monotonic()
        log_dir = self._output.log_dir
        self._time = self._time or SteadyTime(self._clock, last_written_ns(log_dir))
        now_ns = self._time.now_ns()
        active = active_segments(log_dir, now_ns=now_ns, lifetime_s=self._output.options.max_age_s)
        positions, proved = self._positions(), self.proofs.look()
        archivist = self._archivist
        compressible = None if archivist is None else archivist.spares
        deleted = enforce(log_dir, limits, active=active, now_ns=now_ns, positions=positions, compressible=compressible, proved=proved)
        self._deleted.extend(deleted)
        if archivist is not None:
            due = to_compress(
                log_dir,
                limits,
                active=active,
                now_ns=now_ns,
                positions=NOTHING_KNOWN if positions is None and self._retention.compress_after_s else positions,
                compressible=archivist.takes,
                after_s=self._retention.compress_after_s,
                proved=proved,
            )
            self._due = archivist.sources(due)
        ended = self._clock.monotonic()
        self._soon = ended + max(_SOON_SECONDS, _SHARE * (ended - began))
        self._next = max(self._soon, ended + _EVERY_SECONDS)
        self._sweeping = False

    def _positions(self) -> Optional[Positions]:
        """Return what the agent's positions file says, None when nobody knows of one."""
        if not self._retention.has_agent:
            return None
        self.agent = find(self._output.log_dir, self._retention.agent_positions)
        if self.agent.positions is None and self._retention.agent_positions is not None:
            return NOTHING_KNOWN
        return self.agent.positions

    def _tell(self, deleted: Deleted) -> None:
        self._events.forget(deleted.file)
        # Alloy's position of a sealed segment is usually some lines short: a warning for each would hide the others.
        level = "warning" if deleted.knowledge is Knowledge.UNKNOWN else "info"
        archive = {"archive": deleted.archive} if deleted.archive else {}
        unread = unread_fields(deleted.unread_bytes, deleted.unread)
        self._events.write(level, "segment_deleted", file=deleted.file, **archive, bytes=deleted.bytes, reason=deleted.reason, **unread)
