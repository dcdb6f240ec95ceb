"""The supervisor's event loop: starts a child per metric, reads its reports, enforces deadlines, and restarts it."""

from __future__ import annotations

import contextlib
import selectors
import signal
from functools import partial
from typing import Optional

from sqmon.clock import Clock
from sqmon.config.reload import MetricsFile
from sqmon.config.settings import Metric, Settings
from sqmon.errors import ConfigError
from sqmon.health.publisher import Publisher
from sqmon.health.status_file import AgentStatus
from sqmon.health.systemd import SystemdNotifier
from sqmon.storage.agent_positions import AgentFile
from sqmon.supervisor.children import Children
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.forkserver import Forkserver
from sqmon.supervisor.journal import Journal
from sqmon.supervisor.lifetimes_child import LifetimesChild
from sqmon.supervisor.log_directory import LogDirectory
from sqmon.supervisor.login_gate import LoginGate
from sqmon.supervisor.wakeup import Wakeup, on_grid

_TURN_SECONDS = 1.0
_ASLEEP_SECONDS = 0.5
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Decides for every child when it starts, when it is killed, and when it is replaced."""

    def __init__(
        self,
        settings: Settings,
        metrics: list[Metric],
        events: EventStream,
        journal: Journal,
        *,
        file: Optional[MetricsFile],
        forkserver: Forkserver,
        selector: selectors.BaseSelector,
        clock: Clock,
        health: Publisher,
        directory: LogDirectory,
        lifetimes: Optional[LifetimesChild],
        notifier: SystemdNotifier,
    ) -> None:
        self._settings = settings
        self._events = events
        self._notifier = notifier
        self._clock = clock
        self._journal = journal
        self._gate = LoginGate(self._password)
        self._selector = selector
        self._file = file
        self._config_problems: list[str] = []
        self._health = health
        self._directory = directory
        self._lifetimes = lifetimes
        self._stopped_by = ""
        self._next_health = 0.0
        self._awake_at = clock.monotonic()
        """When the loop was last seen awake."""
        self._children = Children(
            metrics,
            settings,
            forkserver=forkserver,
            gate=self._gate,
            journal=self._journal,
            selector=selector,
            clock=clock,
        )

    def run(self) -> None:
        """Keep the children going until SIGTERM or SIGINT, then stop them; at the end no child is left and `stop` is written."""
        wake = Wakeup(*_STOP_SIGNALS, signal.SIGHUP)
        self._selector.register(wake, selectors.EVENT_READ, partial(self._woken, wake))
        if self._file is not None:
            self._watch(self._file, wake)
        self._notifier.ready()
        try:
            while not self._stopped_by:
                self._turn()
            self._notifier.stopping()
            self._children.stop(self._clock.monotonic())
            while self._children.running:
                self._turn()
            if self._lifetimes is not None:
                self._lifetimes.stop(self._clock.monotonic())  # only now, so that it can tell what the last polls reveal
                while self._lifetimes.running:
                    self._turn()
        finally:
            if self._lifetimes is not None:
                self._lifetimes.finish()
            self._children.finish()
            if self._file is not None:
                self._file.unwatch()
            wake.close()
            self._directory.close()
            self._events.write("info", "stop", reason=self._stopped_by or "error")
            self._events.close()
            self._tell_health(stopped=True)

    def _watch(self, file: MetricsFile, wake: Wakeup) -> None:
        trouble = file.watch(wake.poke)
        if trouble:
            self._events.write("warning", "check", check="watch_metrics_file", verdict="warning", text=trouble)
        file.touched(self._clock.monotonic())  # it was read before the start-up checks, which may have taken a while

    def _turn(self) -> None:
        """Wait for the next thing to happen, and deal with all that has."""
        due = min(self._children.next_round, self._children.next_hearing, self._next_health)
        if self._file is not None and not self._stopped_by:
            due = min(due, self._file.due)
        patience = max(min(due - self._clock.monotonic(), _TURN_SECONDS), 0.0)
        ready = self._selector.select(patience)
        self._forgive_sleep(patience)
        for key, _ in ready:
            key.data()
        now = self._clock.monotonic()
        if self._file is not None and now >= self._file.due and not self._stopped_by:
            self._reread(self._file, now)
            self._notifier.ready()
        if now >= self._children.next_hearing:
            self._children.hear()
        if now >= self._children.next_round:
            self._children.go_round(now)
        if self._lifetimes is not None and (now >= self._next_health or self._stopped_by):
            self._lifetimes.look(now)
        if now >= self._next_health:
            # Rounds may follow each other closely, as when many children start; nobody asks that often.
            self._next_health = on_grid(now + _TURN_SECONDS)
            self._directory.look(now)
            self._stopped_by = self._stopped_by or self._directory.ousted
            self._tell_health()
        self._events.tick()

    def _forgive_sleep(self, patience: float) -> None:
        """Put all deadlines off by the time in which this process was stopped or held up: it could hear nobody then."""
        now = self._clock.monotonic()
        slept = now - self._awake_at - patience
        if slept > _ASLEEP_SECONDS:
            self._children.forgive(slept)
            if self._lifetimes is not None:
                self._lifetimes.forgive(slept)
        self._awake_at = now

    def _woken(self, wake: Wakeup) -> None:
        woken = wake.take()
        for number in woken.signals:
            if number in _STOP_SIGNALS:
                self._stopped_by = self._stopped_by or number.name
        if signal.SIGHUP in woken.signals:
            self._notifier.reloading()
        if self._file is not None and (woken.poked or signal.SIGHUP in woken.signals):
            self._file.touched(self._clock.monotonic())
        elif signal.SIGHUP in woken.signals:
            self._notifier.ready()

    def _reread(self, file: MetricsFile, now: float) -> None:
        """Take over what the metrics file says now; a file that is wrong changes nothing."""
        try:
            metrics = file.reread(now)
        except ConfigError as error:
            self._config_problems = error.problems
            self._events.write("error", "config_rejected", file=str(file.path), problems="; ".join(error.problems))
            self._next_health = 0.0
            return
        if metrics is None:
            return
        self._config_problems = []
        changes = self._children.apply(metrics, now)
        lists = {name: ", ".join(found) for name, found in changes._asdict().items()}
        self._events.write("info", "config_reloaded", file=str(file.path), **lists)

    def _tell_health(self, *, stopped: bool = False) -> None:
        problems = [*self._config_problems]
        if self._gate.paused:
            problems.append("logins are paused: the last one was refused")
        problems += filter(None, (self._events.trouble, self._directory.trouble))
        metrics = [self._journal.status(child) for child in self._children]
        lifetimes = self._lifetimes.status() if self._lifetimes is not None else None
        if lifetimes is not None and lifetimes.error:
            problems.append(f"lifetimes: {lifetimes.error}")
        self._health.tell(metrics, problems, agent=_agent_status(self._directory.agent), lifetimes=lifetimes, stopped=stopped)

    def _password(self) -> Optional[str]:
        with contextlib.suppress(ConfigError):
            return self._settings.connection.password.read()
        return None


def _agent_status(agent: Optional[AgentFile]) -> Optional[AgentStatus]:
    return None if agent is None else AgentStatus(positions=str(agent.path or ""), problem=agent.problem)
