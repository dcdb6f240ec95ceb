"""The main process of `sqmon run`: one loop that starts a child per metric, hears them, times them, and starts them again."""

from __future__ import annotations

import hashlib
import selectors
import signal
from multiprocessing.context import ForkServerContext
from typing import Optional

from sqmon.clock import Clock
from sqmon.config.reload import MetricsFile
from sqmon.config.settings import Metric, Settings
from sqmon.errors import ConfigError, SqmonError
from sqmon.health.publisher import Publisher
from sqmon.health.systemd import SystemdNotifier
from sqmon.ipc.reports import Connected
from sqmon.ipc.start import Start
from sqmon.records.encoder import new_run_id
from sqmon.supervisor.backoff import spread
from sqmon.supervisor.child import Child, Exit
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.journal import Journal
from sqmon.supervisor.log_directory import LogDirectory
from sqmon.supervisor.login_gate import LoginGate
from sqmon.supervisor.wakeup import Wakeup

_TURN_SECONDS = 1.0
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
        context: ForkServerContext,
        clock: Clock,
        health: Publisher,
        directory: LogDirectory,
        notifier: SystemdNotifier,
    ) -> None:
        self._settings = settings
        self._events = events
        self._context = context
        self._notifier = notifier
        self._clock = clock
        self._journal = journal
        self._gate = LoginGate(self._password_digest)
        self._selector = selectors.DefaultSelector()
        self._file = file
        self._config_problems: list[str] = []
        self._health = health
        self._directory = directory
        self._stopped_by = ""
        self._next_round = 0.0
        self._next_health = 0.0
        now = clock.monotonic()
        shortest = min(metric.interval for metric in metrics)
        starts = (now + spread(index, len(metrics), shortest) for index in range(len(metrics)))
        self._children = [Child(metric, start_at=start, context=context) for metric, start in zip(metrics, starts)]
        for metric in metrics:
            self._journal.tally(metric.name)

    def run(self) -> None:
        """Keep the children going until SIGTERM or SIGINT, then stop them; at the end no child is left and `stop` is written."""
        wake = Wakeup(*_STOP_SIGNALS, signal.SIGHUP)
        self._selector.register(wake, selectors.EVENT_READ)
        if self._file is not None:
            self._watch(self._file, wake)
        self._notifier.ready()
        try:
            while not self._stopped_by:
                self._turn(wake)
            self._notifier.stopping()
            for child in self._children:
                child.stop(self._clock.monotonic())
            self._next_round = 0.0
            while any(child.alive for child in self._children):
                self._turn(wake)
        finally:
            for child in self._children:
                child.kill()
                self._journal.missing(child)
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

    def _turn(self, wake: Wakeup) -> None:
        """Wait for the next thing to happen, and deal with all that has."""
        due = min(self._next_round, self._next_health, self._file.due if self._file else self._next_round)
        patience = min(due - self._clock.monotonic(), _TURN_SECONDS)
        for key, _ in self._selector.select(max(patience, 0.0)):
            if key.fileobj is wake:
                self._woken(wake)
            else:
                self._hear(key.data)
        now = self._clock.monotonic()
        if self._file is not None and now >= self._file.due and not self._stopped_by:
            self._reread(self._file, now)
            self._notifier.ready()
        if now >= self._next_round:
            self._go_round(now)
        if now >= self._next_health:
            # Rounds may follow each other closely, as when many children start; nobody asks that often.
            self._next_health = now + _TURN_SECONDS
            self._directory.look(now)
            self._stopped_by = self._stopped_by or self._directory.ousted
            self._tell_health()
        self._events.tick()

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

    def _go_round(self, now: float) -> None:
        """Look at every child: kill those that hang, start those that may. Between rounds only reports are looked at."""
        self._next_round = now + _TURN_SECONDS
        trying = sum(child.state == "starting" for child in self._children)
        for child in self._children:
            child.kill_if_overdue(now)
            if not self._stopped_by and not child.alive and not child.waits_for_another:
                if child.start_at <= now and self._gate.lets(now, trying=trying):
                    self._start(child, now)
                    trying += child.alive
                elif child.start_at > now:
                    self._next_round = min(self._next_round, child.start_at)
            self._next_round = min(self._next_round, child.deadline)
        if self._gate.next_try > now:
            self._next_round = min(self._next_round, self._gate.next_try)

    def _start(self, child: Child, now: float) -> None:
        try:
            run_id, settings = new_run_id(self._clock.time_ns()), self._settings
            child.start(Start(child.metric, run_id, settings.connection, settings.output, settings.sql), now)
        except (OSError, EOFError) as error:
            self._journal.not_started(child, str(error), child.back_off(0.0, now))
            return
        self._selector.register(child.pipe, selectors.EVENT_READ, child)
        self._journal.started(child)

    def _hear(self, child: Child) -> None:
        now = self._clock.monotonic()
        pipe = child.pipe
        reports, last = child.receive(now)
        for report in reports:
            self._journal.heard(child, report)
            if isinstance(report, Connected):
                self._gate.succeeded()
                self._next_round = 0.0
        self._next_round = min(self._next_round, child.deadline)
        if last:
            self._selector.unregister(pipe)
            self._ended(child, child.reap(now), now)

    def _ended(self, child: Child, end: Exit, now: float) -> None:
        """Decide when a child that has ended starts again."""
        self._next_round = 0.0
        if child.retired:
            self._children.remove(child)
            self._journal.ended(child, end, None)
            self._journal.missing(child)
            if not any(other.metric.name == child.metric.name for other in self._children):
                self._journal.forget(child.metric.name)
            return
        restart_in: Optional[float] = None
        if not end.planned:
            if not end.logged_in and end.kind in ("refused", "connection", "statement", "timeout", "hung"):
                child.start_at = now  # and the gate says when
                (self._gate.refused if end.kind == "refused" else self._gate.failed)(now)
            else:
                if end.kind == "connection":
                    self._gate.doubt()
                restart_in = child.back_off(end.lasted, now)
        self._journal.ended(child, end, restart_in)

    def _reread(self, file: MetricsFile, now: float) -> None:
        """Take over what the metrics file says now; a file that is wrong changes nothing."""
        try:
            metrics = file.reread(now)
        except ConfigError as error:
            self._config_problems = error.problems
            self._events.write("error", "config_rejected", file=str(file.path), problems="; ".join(error.problems))
            self._next_round = 0.0
            return
        if metrics is None:
            return
        self._config_problems = []
        wanted = {metric.name: metric for metric in metrics}
        running = {child.metric.name: child for child in self._children if not child.retired}
        changed = [name for name, child in running.items() if name in wanted and wanted[name] != child.metric]
        removed = [name for name in running if name not in wanted]
        added = [name for name in wanted if name not in running]
        for name in changed + removed:
            running[name].retire(now)
            if not running[name].alive:
                self._children.remove(running[name])
                self._journal.missing(running[name])
        for name in removed:
            if not running[name].alive:
                self._journal.forget(name)
        for name in changed + added:
            # One metric never has two workers, so the new one waits for the end of any that went before.
            before = next((child for child in self._children if child.metric.name == name), None)
            self._children.append(Child(wanted[name], start_at=now, context=self._context, after=before))
        self._next_round = 0.0
        lists = {"changed": changed, "added": added, "removed": removed}
        self._events.write("info", "config_reloaded", file=str(file.path), **{name: ", ".join(found) for name, found in lists.items()})

    def _tell_health(self, *, stopped: bool = False) -> None:
        problems = [*self._config_problems]
        if self._gate.paused:
            problems.append("logins are paused: the last one was refused")
        problems += filter(None, (self._events.trouble, self._directory.trouble))
        self._health.tell([self._journal.status(child) for child in self._children if not child.retired], problems, stopped=stopped)

    def _password_digest(self) -> object:
        """Return something that changes when the password does, and that is not the password."""
        try:
            return hashlib.sha256(self._settings.connection.password.read().encode()).digest()
        except SqmonError as error:
            return str(error)
