"""The supervisor's event loop: waits for signals, files and children, and gives every cluster its turn."""

from __future__ import annotations

import selectors
import signal
from functools import partial

from sqmon.clock import Clock
from sqmon.health.systemd import SystemdNotifier
from sqmon.supervisor.fleet import Fleet
from sqmon.supervisor.forkserver import Forkserver
from sqmon.supervisor.wakeup import Wakeup, on_grid

_TURN_SECONDS = 1.0
_ASLEEP_SECONDS = 0.5
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Runs until it is told to stop. It waits for nothing but its selector."""

    def __init__(
        self, fleet: Fleet, *, forkserver: Forkserver, selector: selectors.BaseSelector, clock: Clock, notifier: SystemdNotifier
    ) -> None:
        self._fleet = fleet
        self._forkserver = forkserver
        self._selector = selector
        self._clock = clock
        self._notifier = notifier
        self._stopped_by = ""
        self._reloading = False
        self._next_sign = 0.0
        self._awake_at = clock.monotonic()
        """When the loop was last seen awake."""

    def run(self) -> None:
        """Keep the children of all clusters going until SIGTERM or SIGINT, then stop them; at the end no child is left."""
        wake = Wakeup(*_STOP_SIGNALS, signal.SIGHUP)
        self._selector.register(wake, selectors.EVENT_READ, partial(self._woken, wake))
        self._fleet.watch(wake.poke, self._clock.monotonic())
        self._notifier.ready()
        try:
            while not self._stopped_by:
                self._turn()
            self._notifier.stopping()
            self._fleet.stop(self._clock.monotonic())
            while self._fleet.running:
                self._turn()
        finally:
            self._fleet.finish(self._stopped_by or "error")
            wake.close()

    def _turn(self) -> None:
        """Wait for the next thing to happen, and deal with all that has."""
        due = min(self._fleet.due, self._next_sign)
        patience = max(min(due - self._clock.monotonic(), _TURN_SECONDS), 0.0)
        ready = self._selector.select(patience)
        self._forgive_sleep(patience)
        for key, _ in ready:
            key.data()
        now = self._clock.monotonic()
        self._fleet.turn(now)
        if self._reloading and self._fleet.settled:
            self._reloading = False
            self._notifier.ready()
        if now >= self._next_sign:
            self._next_sign = on_grid(now + _TURN_SECONDS)
            self._notifier.alive(now, self._fleet.summary)
        self._stopped_by = self._stopped_by or self._fleet.ousted

    def _forgive_sleep(self, patience: float) -> None:
        """Put all deadlines off by the time in which this process was stopped or held up: it could hear nobody then."""
        now = self._clock.monotonic()
        slept = now - self._awake_at - patience
        if slept > _ASLEEP_SECONDS:
            self._forkserver.forgive(slept)
            self._fleet.forgive(slept)
        self._awake_at = now

    def _woken(self, wake: Wakeup) -> None:
        woken = wake.take()
        for number in woken.signals:
            if number in _STOP_SIGNALS:
                self._stopped_by = self._stopped_by or number.name
        if signal.SIGHUP in woken.signals:
            self._notifier.reloading()
            self._reloading = True
        if woken.poked or self._reloading:
            self._fleet.touched(self._clock.monotonic())
