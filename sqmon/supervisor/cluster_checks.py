"""The start-up checks of a cluster beside others: they hold nobody up, and are tried until they pass."""

from __future__ import annotations

import contextlib
import selectors
from typing import Iterator, Optional

from sqmon.clock import Clock, utc_stamp
from sqmon.config.settings import Settings
from sqmon.errors import ConfigError
from sqmon.ipc.check import AskDatabase, AskLoki, Outcome
from sqmon.ipc.login_pause import PAUSE_SECONDS, Standing, explained
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.forkserver import Forkserver
from sqmon.supervisor.login_gate import LoginGate
from sqmon.supervisor.opening import write_outcome
from sqmon.supervisor.startup_checks import Step, Wait, ask

_AGAIN_SECONDS = 60.0  # after a failure that waiting alone won't cure, as a worker that has a GPU


class ClusterChecks:
    """Asks whenever the login gate lets it, until the database can be polled.

    A database that can't be reached is tried again within seconds, anything else that is wrong with it after a minute, and a refused login
    after the pause of all logins. An outcome is told when it differs from the one before.
    """

    def __init__(
        self,
        settings: Settings,
        events: EventStream,
        gate: LoginGate,
        *,
        forkserver: Forkserver,
        selector: selectors.BaseSelector,
        clock: Clock,
        begin_at: float,
    ) -> None:
        self.passed = False
        self.trouble = ""
        """Why the cluster is not polled yet, as the last attempt has told it."""
        self.due = begin_at
        """When `look` has something to do, in monotonic seconds."""
        self._settings = settings
        self._events = events
        self._gate = gate
        self._forkserver = forkserver
        self._selector = selector
        self._clock = clock
        self._told: dict[str, Outcome] = {}
        self._steps: Optional[Iterator[Step]] = None
        self._waiting: Optional[Wait] = None
        self._password = ""
        self._began = 0.0

    def look(self, now: float) -> None:
        """Begin an attempt, or go on with the one that is under way; never waits."""
        if self._steps is None:
            if now < self.due or not self._begins(now):
                return
            self._steps = self._attempt(now)
        self._let_go()
        for step in self._steps:
            if isinstance(step, Wait):
                self._waiting, self.due = step, step.until
                self._selector.register(step.pipe, selectors.EVENT_READ, self._wake)
                return
        self._steps = None

    def observe(self, pause: Standing, now: float) -> None:
        """Keep to a pause of all logins that an earlier service has left."""
        self._gate.refused(now, self._settings.connection.password.read(), seconds=pause.seconds)
        self._tell(Outcome(AskDatabase.check, "failed", explained(pause)))

    def close(self) -> None:
        """Give up."""
        self._let_go()
        self._steps = None

    def _begins(self, now: float) -> bool:
        if not self._gate.lets(now, trying=0):
            self.due = self._gate.next_try if self._gate.next_try > now else now + 1.0
            return False
        try:
            self._password = self._settings.connection.password.read()
        except ConfigError as error:
            self._gate.failed(now)
            self._tell(Outcome(AskDatabase.check, "retry", str(error)))
            return False
        self._began = now
        return True

    def _attempt(self, now: float) -> Iterator[Step]:
        """Yield the waits of one attempt, and decide at its end what follows."""
        settings = self._settings
        connection = settings.connection.with_password(self._password)
        self.trouble, failed = "", False
        for step in ask(AskDatabase(connection, settings.outside.allow_gpu, settings.output), self._forkserver, self._clock):
            if isinstance(step, Wait):
                yield step
                continue
            self._tell(step)
            if step.verdict in ("failed", "retry"):
                failed = True
                self._put_off(step)
        if failed:
            return
        if settings.outside.loki is not None:
            for step in ask(AskLoki(*settings.outside.loki), self._forkserver, self._clock):
                if isinstance(step, Wait):
                    yield step
                else:
                    self._tell(step)
        self.passed = True
        self._gate.succeeded(self._clock.monotonic(), began=now)

    def _put_off(self, outcome: Outcome) -> None:
        now = self._clock.monotonic()
        self.due = now
        if outcome.refused:
            self._gate.refused(now, self._password)
            until = utc_stamp(self._clock.time_ns() + int(PAUSE_SECONDS * 1e9))
            self._events.write("error", "login_paused", reason=outcome.text, until=until)
        elif outcome.verdict == "retry":
            self._gate.failed(now)
        else:
            self.due = now + _AGAIN_SECONDS

    def _tell(self, outcome: Outcome) -> None:
        if outcome.verdict in ("failed", "retry"):
            self.trouble = outcome.text
        if self._told.get(outcome.name) != outcome:
            self._told[outcome.name] = outcome
            write_outcome(self._events, outcome)

    def _wake(self) -> None:
        self.due = 0.0

    def _let_go(self) -> None:
        if self._waiting is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(self._waiting.pipe)
            self._waiting = None
