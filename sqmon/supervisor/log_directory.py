"""The log directory of the running service: locked for this service alone, and kept within its limits."""

from __future__ import annotations

from collections import deque
from typing import Optional

from sqmon.errors import SqmonError, reason_of
from sqmon.side_thread import Crew, SideThread
from sqmon.storage.agent_positions import AgentFile
from sqmon.storage.directory_lock import DirectoryLock
from sqmon.storage.proof_file import Proof
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.sweeper import Sweeper

_CLOSE_SECONDS = 1.0


class LogDirectory:
    """Has the lock renewed by a side thread, since a disk may hang, and sweeps. Beside a single file there is nothing to do."""

    def __init__(
        self, lock: Optional[DirectoryLock], sweeper: Optional[Sweeper], events: EventStream, *, crew: Optional[Crew] = None
    ) -> None:
        self.ousted = ""
        """Why this service has to end: another one has the directory. Empty until then."""
        self.trouble = ""
        """Why the lock could not be taken again, or ""."""
        self._lock = lock
        self._sweeper = sweeper
        self._events = events
        self._found: deque[str] = deque()  # filled by the side thread, emptied by `look`
        self._thread: SideThread[DirectoryLock] = SideThread("directory", self._renew, room=1, crew=crew)

    def look(self, now: float) -> None:
        """Write events for what was found and deleted since the last call, and have the next look begin; never waits."""
        while self._found:
            self._events.write("warning", "log_dir_changed", text=self._found.popleft())
        if self._lock is not None and not self._thread.full and not self.ousted:
            self._thread.offer(self._lock)
        if self._sweeper is not None:
            self._sweeper.sweep(now)

    @property
    def agent(self) -> Optional[AgentFile]:
        """The positions file of the agent that reads the directory; None where that is not known yet, or none does."""
        return None if self._sweeper is None else self._sweeper.agent

    @property
    def proof(self) -> Optional[Proof]:
        """What was last found of the directory in Loki; None where nobody looks."""
        return None if self._sweeper is None else self._sweeper.proofs.shown

    def stop(self) -> None:
        """End the processes that work on the directory; `close` is to follow."""
        if self._sweeper is not None:
            self._sweeper.stop()

    def close(self) -> None:
        """Write the remaining events; the lock is not renewed any more, but stays."""
        self._thread.end(_CLOSE_SECONDS)
        if self._sweeper is not None:
            self._sweeper.close()

    def _renew(self, lock: DirectoryLock) -> None:
        try:
            found, trouble = lock.renew(), ""
        except SqmonError as error:
            found = trouble = self.ousted = str(error)
        except OSError as error:
            trouble = f"the log directory can't be locked: {reason_of(error)}"
            found = trouble if trouble != self.trouble else ""
        self.trouble = trouble
        if found:
            self._found.append(found)
