"""Who may log in, and when: five wrong passwords lock a role, and a database that is down needs no crowd at its door."""

from __future__ import annotations

import random
from typing import Callable, Optional

from sqmon.supervisor.backoff import Backoff

PAUSE_SECONDS = 15 * 60.0
"""How long no login is tried after one was refused: SQreamDB unlocks a locked role after as long."""

_LONGEST_RETRY = 4.0


class LoginGate:
    """One gate for all metrics.

    Open, it lets everybody in. After a login that failed for the network's or the server's sake it lets one at a time try, each 1 to 4 s,
    until one comes through. After a refused login it lets nobody try until 15 minutes are over or the password has changed; then one.
    """

    def __init__(self, password: Callable[[], object]) -> None:
        self._password = password
        self._refused_password: object = None
        self._open = True
        self._not_before = 0.0
        self._backoff = self._new_backoff()
        self.paused_until: Optional[float] = None
        """Monotonic seconds, or None when no login was refused."""

    def lets(self, now: float, *, trying: int) -> bool:
        """Return whether one more login may start now while `trying` others are under way."""
        if self._open:
            return True
        if self.paused_until is not None:
            if now < self.paused_until and self._password() == self._refused_password:
                return False
            self.paused_until = None
            self._not_before = now
        return not trying and now >= self._not_before

    @property
    def paused(self) -> bool:
        """Whether a login was refused, and none has worked since."""
        return self.paused_until is not None

    @property
    def next_try(self) -> float:
        """When the gate lets the next one in, in monotonic seconds; in the past when it already does, or waits for the one inside."""
        return 0.0 if self._open else self._not_before

    def succeeded(self) -> None:
        """A login worked: open."""
        if not self._open:
            self._open, self.paused_until, self._backoff = True, None, self._new_backoff()

    def doubt(self) -> None:
        """A connection was lost: the next login shows, alone, whether the database is still there."""
        self._open = False

    def failed(self, now: float) -> None:
        """A login failed without being refused."""
        self._open = False
        self._not_before = max(self._not_before, now + self._backoff.wait(0.0))

    def refused(self, now: float) -> None:
        """A login was refused: pause all of them."""
        self._open = False
        self.paused_until = now + PAUSE_SECONDS
        self._refused_password = self._password()

    @staticmethod
    def _new_backoff() -> Backoff:
        return Backoff(longest=_LONGEST_RETRY, jitter=random.Random())
