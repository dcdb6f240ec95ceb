"""The login gate: decides when the next login may be tried, since five wrong passwords lock a role."""

from __future__ import annotations

import random
from typing import Callable, Optional

from sqmon.ipc.login_pause import PAUSE_SECONDS
from sqmon.supervisor.backoff import Backoff

_LONGEST_RETRY = 4.0
_FRESH_SECONDS = 0.25
_MOST_AT_ONCE = 4


class LoginGate:
    """One gate for all metrics.

    A password may be changed on the server at any time, so one login goes ahead and the others wait for what becomes of it. When it has
    worked they follow at once, a few at a time: even a password that is changed in this very moment is tried less often than locks a role.
    When it has failed for the network's or the server's sake, one at a time tries again, each 1 to 4 s. When it was refused, nobody tries
    until 15 minutes are over or the password is another one.
    """

    def __init__(self, password: Callable[[], Optional[str]]) -> None:
        """`password` returns the password as it is now, None while it can't be read."""
        self._password = password
        self._refused: Optional[str] = None
        self._refused_at = 0.0
        self._paused_until = 0.0
        self._fresh_until = 0.0
        self._backoff = self._new_backoff()
        self.next_try = 0.0
        """When the gate lets the next one in, in monotonic seconds; in the past when it already does, or waits for the one inside."""

    def lets(self, now: float, *, trying: int) -> bool:
        """Return whether one more login may start now while `trying` others are under way."""
        if self._refused is not None and now < self._paused_until and self._password() in (None, self._refused):
            return False
        if trying:
            return trying < _MOST_AT_ONCE and now < self._fresh_until
        return now >= self.next_try

    @property
    def paused(self) -> bool:
        """Whether a login was refused, and none has worked since."""
        return self._refused is not None

    def succeeded(self, now: float, *, began: float) -> None:
        """A login that began at `began` has worked: others may follow, unless another one was refused meanwhile."""
        if self._refused is not None and began <= self._refused_at:
            return
        self._refused, self.next_try, self._backoff = None, 0.0, self._new_backoff()
        self._fresh_until = now + _FRESH_SECONDS

    def doubt(self) -> None:
        """A connection was lost: the next login shows, alone, whether the database is still there."""
        self._fresh_until = 0.0

    def failed(self, now: float) -> None:
        """A login has failed without being refused."""
        self._fresh_until = 0.0
        self.next_try = max(self.next_try, now + self._backoff.wait(0.0))

    def refused(self, now: float, password: str, *, seconds: float = PAUSE_SECONDS) -> None:
        """A login with `password` was refused: pause all of them, for `seconds` if the password stays as it is."""
        self._fresh_until = self.next_try = 0.0
        self._refused, self._refused_at, self._paused_until = password, now, now + seconds

    @staticmethod
    def _new_backoff() -> Backoff:
        return Backoff(longest=_LONGEST_RETRY, jitter=random.Random())
