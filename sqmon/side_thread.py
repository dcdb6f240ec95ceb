"""A thread beside the main one that drains a bounded queue."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from typing import Callable, Generic, Optional, TypeVar

T = TypeVar("T")


class SideThread(Generic[T]):
    """Does in order what may block, so that its owner never waits.

    It is a daemon: neither a disk nor a reader that never answers can hold the exit. An error that one of the three functions raises is a
    bug; it ends the thread and is raised again by the next call of its owner.
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
    ) -> None:
        """Call `work` with each item, `idle` whenever nothing came for `idle_seconds`, and `finish` at the end.

        `room` limits the size of what waits.
        """
        self.waiting = 0
        """The size of all items that wait for the thread, without the one that it works on."""
        self.busy_since: Optional[float] = None
        """When the call that the thread is in began, in monotonic seconds; None between calls."""
        self._name = name
        self._work = work
        self._room = room
        self._idle = idle
        self._idle_seconds = idle_seconds if idle else None
        self._finish = finish
        self._items: deque[tuple[T, int]] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._failure: Optional[Exception] = None
        self._thread: Optional[threading.Thread] = None

    @property
    def full(self) -> bool:
        """Whether an item of size 1 finds no room."""
        return self.waiting >= self._room

    def offer(self, item: T, size: int = 1) -> bool:
        """Queue the item and return True; return False when there is no room for it."""
        self._raise_failure()
        with self._changed:
            if self.waiting and self.waiting + size > self._room:
                return False
            self._items.append((item, size))
            self.waiting += size
            self._changed.notify_all()
        self._start()
        return True

    def drain(self, seconds: float) -> bool:
        """Wait until nothing waits and nothing is being worked on, `seconds` at most; return whether it is so."""
        with self._changed:
            drained = self._changed.wait_for(lambda: self._failure is not None or not (self._items or self.busy_since), seconds)
        self._raise_failure()
        return drained

    def end(self, seconds: float) -> bool:
        """Let the thread work off what waits and end; return whether it did so within `seconds`, which is the longest wait."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._finish is not None:
            self._start()
        if self._thread is not None:
            self._thread.join(seconds)
        self._raise_failure()
        return not self._items and (self._thread is None or not self._thread.is_alive())

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # the system allows no more threads just now; the next offer tries again
            self._thread = thread

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:  # noqa: BLE001 - the owner raises it
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _turn(self) -> bool:
        """Wait for the next call to make and make it; return False after the last one."""
        with self._changed:
            if not self._items and not self._ending:
                self._changed.wait(self._idle_seconds)
            call, last = self._idle, not self._items and self._ending
            if self._items:
                item, size = self._items.popleft()
                self.waiting -= size
                call = functools.partial(self._work, item)
            elif last:
                call = self._finish
            self.busy_since = time.monotonic()
        if call is not None:
            call()
        with self._changed:
            self.busy_since = None
            self._changed.notify_all()
        return not last
