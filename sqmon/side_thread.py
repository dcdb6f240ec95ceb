"""Threads beside the main one that drain bounded queues: one for a queue, or a few for the queues of many owners."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from typing import Any, Callable, Generic, Optional, TypeVar

T = TypeVar("T")


class Crew:
    """The threads that side threads of one kind share, so that many owners don't make many threads.

    One thread serves them in turn as long as none of them is held up; each that is occupies a thread, `most` at the same time. The threads
    are daemons: neither a disk nor a reader that never answers can hold the exit.
    """

    def __init__(self, name: str, *, most: int = 1) -> None:
        self.changed = threading.Condition()
        """Guards the crew and all its side threads; notified after each call."""
        self._name = name
        self._most = most
        self._members: list[SideThread[Any]] = []
        """Those that are not in a call, those that have waited longest first."""
        self._busy: list[SideThread[Any]] = []
        self._threads = 0
        self._resting = 0

    def serve(self, member: SideThread[Any]) -> None:
        """Have a side thread served from now on, to its end; `changed` is held by the caller."""
        if member not in self._members and member not in self._busy:
            self._members.append(member)
        if not self._resting and self._threads < self._most:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # the system allows no more threads just now; the next offer tries again
            self._threads += 1

    def _run(self) -> None:
        with self.changed:
            while self._members:
                now = time.monotonic()
                member = min(self._members, key=lambda each: each.due)
                pause = member.due - now
                if pause > 0:
                    self._resting += 1
                    self.changed.wait(None if pause == float("inf") else pause)
                    self._resting -= 1
                    continue
                self._members.remove(member)
                self._busy.append(member)
                self._call(member.begin(now), member)
                self._busy.remove(member)
                if not member.over:
                    self._members.append(member)
            self._threads -= 1

    def _call(self, call: Optional[Callable[[], None]], member: SideThread[Any]) -> None:
        """Make a call of a member, while others may use the crew."""
        failure = None
        self.changed.release()
        try:
            if call is not None:
                call()
        except Exception as error:  # noqa: BLE001 - the owner raises it
            failure = error
        finally:
            self.changed.acquire()
        member.done(failure)
        self.changed.notify_all()


class SideThread(Generic[T]):
    """Does in order what may block, so that its owner never waits.

    An error that one of the three functions raises is a bug; it ends the work and is raised again by the next call of its owner.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[T], None],
        *,
        room: int,
        idle: Optional[Callable[[], None]] = None,
        idle_seconds: float = 1.0,
        finish: Optional[Callable[[], None]] = None,
        crew: Optional[Crew] = None,
    ) -> None:
        """Call `work` with each item, `idle` whenever nothing came for `idle_seconds`, and `finish` at the end.

        `room` limits the size of what waits. Without a crew to share, it has a thread of its own, called `name`.
        """
        self.waiting = 0
        """The size of all items that wait for the thread, without the one that it works on."""
        self.busy_since: Optional[float] = None
        """Since when a call is under way or an item waits for the first one, in monotonic seconds; None while there is nothing to do."""
        self.over = False
        """Whether the last call has been made."""
        self._crew = crew or Crew(name)
        self._changed = self._crew.changed
        self._work = work
        self._room = room
        self._idle = idle
        self._idle_seconds = idle_seconds if idle else float("inf")
        self._idle_at = float("inf")
        self._finish = finish
        self._items: deque[tuple[T, int]] = deque()
        self._begun = False
        self._last = False
        self._ending = False
        self._failure: Optional[Exception] = None

    @property
    def full(self) -> bool:
        """Whether an item of size 1 finds no room."""
        return self.waiting >= self._room

    def offer(self, item: T, size: int = 1) -> bool:
        """Queue the item and return True; return False when there is no room for it."""
        with self._changed:
            self._raise_failure()
            if self.waiting and self.waiting + size > self._room:
                return False
            self._items.append((item, size))
            self.waiting += size
            if self.busy_since is None:
                self.busy_since = time.monotonic()
            self._serve()
        return True

    def drain(self, seconds: float) -> bool:
        """Wait until nothing waits and nothing is being worked on, `seconds` at most; return whether it is so."""
        with self._changed:
            drained = self._changed.wait_for(lambda: self._failure is not None or self.busy_since is None, seconds)
            self._raise_failure()
        return drained

    def end(self, seconds: float) -> bool:
        """Let the thread work off what waits and end; return whether it did so within `seconds`, which is the longest wait."""
        with self._changed:
            self._ending = True
            if self._begun or self._finish is not None:
                self._serve()
                self._changed.wait_for(lambda: self.over, seconds)
            self._raise_failure()
            return self.over or not self._begun

    # The crew calls what follows, and holds `changed` while it does.

    @property
    def due(self) -> float:
        """When the next call is to be made, in monotonic seconds."""
        return 0.0 if self._items or self._ending else self._idle_at

    def begin(self, now: float) -> Optional[Callable[[], None]]:
        """Return the call to make now."""
        self.busy_since = now
        if self._items:
            item, size = self._items.popleft()
            self.waiting -= size
            return functools.partial(self._work, item)
        self._last = self._ending
        return self._finish if self._last else self._idle

    def done(self, failure: Optional[Exception]) -> None:
        """Take note of the end of a call."""
        now = time.monotonic()
        self._failure = failure
        self.over = self._last or failure is not None
        self._idle_at = now + self._idle_seconds
        self.busy_since = now if self._items else None

    def _serve(self) -> None:
        if not self.over:
            self._begun = True
            self._crew.serve(self)
            self._changed.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
