"""The children of all metrics: starting, listening, killing and replacing them."""

from __future__ import annotations

import contextlib
import selectors
from functools import partial
from typing import Iterator, Optional

from sqmon.clock import Clock
from sqmon.config.settings import Metric, Settings
from sqmon.errors import ConfigError, reason_of
from sqmon.ipc.reports import Connected, Failed
from sqmon.ipc.start import WORKER, Start
from sqmon.records.encoder import new_run_id
from sqmon.supervisor.backoff import spread
from sqmon.supervisor.changes import Changes, changes_of
from sqmon.supervisor.child import Child
from sqmon.supervisor.forkserver import Forkserver
from sqmon.supervisor.journal import Journal
from sqmon.supervisor.login_gate import LoginGate
from sqmon.supervisor.run import Run
from sqmon.supervisor.wakeup import GRID_SECONDS, on_grid

_LOOK_SECONDS = 1.0
_HEARD_AT_ONCE = 16
_BREATH_SECONDS = 0.02  # between two bunches, so that no worker's poll waits for the processor while a hundred are heard


class Children:
    """A child per metric, and those whose metric has changed or gone until their processes have ended."""

    def __init__(
        self,
        metrics: list[Metric],
        settings: Settings,
        *,
        forkserver: Forkserver,
        gate: LoginGate,
        journal: Journal,
        selector: selectors.BaseSelector,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._forkserver = forkserver
        self._gate = gate
        self._journal = journal
        self._selector = selector
        self._ears = selectors.DefaultSelector()
        """The sockets of all children; the loop waits for it only while one of them starts or stops."""
        self._attentive = False
        self._clock = clock
        now, shortest = clock.monotonic(), min((metric.interval for metric in metrics), default=0.0)
        self._children = [Child(metric, start_at=now + spread(index, len(metrics), shortest)) for index, metric in enumerate(metrics)]
        for metric in metrics:
            journal.tally(metric.name)
        self._stopping = False
        self.next_round = 0.0
        """When `go_round` has something to do, in monotonic seconds."""
        self.next_hearing = 0.0
        """When `hear` is to be called, in monotonic seconds."""

    def __iter__(self) -> Iterator[Child]:
        """Iterate over those that are in service."""
        return iter([child for child in self._children if not child.retired])

    @property
    def running(self) -> bool:
        """Whether a process lives that can be waited for."""
        return any(child.run is not None and not child.run.stuck for child in self._children)

    def hear(self) -> int:
        """Take what some of the children have reported, and return how many were heard; `next_hearing` is the turn of the others."""
        ready, now = self._ears.select(0), self._clock.monotonic()
        with self._journal.together():
            for key, _ in ready[:_HEARD_AT_ONCE]:
                key.data()
        self.next_hearing = on_grid(now + GRID_SECONDS) if len(ready) <= _HEARD_AT_ONCE else now + _BREATH_SECONDS
        self._attend()
        return len(ready[:_HEARD_AT_ONCE])

    def _attend(self) -> None:
        """Have the loop woken by each report while a child starts or stops, when somebody waits for what it says; by none otherwise."""
        attentive = any(child.state in ("starting", "stopping") for child in self._children)
        if attentive and not self._attentive:
            self._selector.register(self._ears, selectors.EVENT_READ, self.hear)
        elif self._attentive and not attentive:
            self._selector.unregister(self._ears)
        self._attentive = attentive

    def go_round(self, now: float) -> None:
        """Look at every child: end what is over, kill what hangs, start what may. Between rounds only reports are looked at."""
        self._forkserver.look_after(now)
        self.next_round = min(on_grid(now + _LOOK_SECONDS), self._forkserver.deadline)
        for child in self._children.copy():
            if child.run is not None:
                self._look_at(child, child.run, now)
        trying = sum(child.state == "starting" for child in self._children)
        open_ = not self._stopping
        for child in self._children:
            if child.run is not None or child.retired or child.waits_for_another:
                continue
            due = self._journal.due(child)
            if due > now:
                self.next_round = min(self.next_round, due)
            elif open_ and not self._forkserver.busy:
                open_ = self._gate.lets(now, trying=trying)
                if open_:
                    self._start(child, now)
                    trying += child.run is not None
        if self._gate.next_try > now:
            self.next_round = min(self.next_round, self._gate.next_try)
        self._attend()

    def begin(self, now: float) -> None:
        """Begin the starts now, one after the other within a second; before, their time was not known."""
        shortest = min((child.metric.interval for child in self), default=0.0)
        for index, child in enumerate(self._children):
            child.start_at = now + spread(index, len(self._children), shortest)
        self.next_round = 0.0

    def forgive(self, seconds: float) -> None:
        """Leave a time out of account in which this process was asleep and heard nobody."""
        for child in self._children:
            if child.run is not None:
                child.run.forgive(seconds)

    def stop(self, now: float) -> None:
        """Ask every process to end, and start no more."""
        self._stopping = True
        self.next_round = 0.0
        for child in self._children:
            if child.run is not None:
                child.run.stop(now)
        self._attend()

    def finish(self) -> None:
        """Kill what is left, tell what does not die of that, and what is missing of each metric."""
        for child in self._children:
            if child.run is not None:
                end = child.run.end(self._clock.monotonic())
                if child.run.stuck:
                    self._journal.ended(child, end, None)
            self._journal.missing(child)
        if self._attentive:
            self._selector.unregister(self._ears)
        self._ears.close()

    def apply(self, metrics: list[Metric], now: float) -> Changes:
        """Poll these metrics from now on; what has not changed is left alone."""
        wanted = {metric.name: metric for metric in metrics}
        changes = changes_of({child.metric.name: child.metric for child in self}, wanted)
        for child in self:
            if child.metric.name in changes.changed + changes.removed:
                self._retire(child, now)
        for name in changes.changed + changes.added:
            # One metric never has two workers, so the new one waits for the end of any that went before.
            before = next((child for child in self._children if child.metric.name == name), None)
            self._children.append(Child(wanted[name], start_at=now, after=before))
        self.next_round = 0.0
        return changes

    def _retire(self, child: Child, now: float) -> None:
        child.retired = True
        if child.run is None:
            self._remove(child)
        elif child.state != "starting":
            # One that is logging in is waited for: if the login is refused, that must be known before anybody else tries.
            child.run.stop(now)

    def _remove(self, child: Child) -> None:
        self._children.remove(child)
        self._journal.missing(child)
        if not any(other.metric.name == child.metric.name for other in self._children):
            self._journal.forget(child.metric.name)

    def _start(self, child: Child, now: float) -> None:
        run_id, settings = new_run_id(self._clock.time_ns()), self._settings
        try:
            # Read here rather than by the worker, so that the gate knows which password was refused.
            password = settings.connection.password.read()
            connection = settings.connection.with_password(password)
            process = self._forkserver.start(WORKER, Start(child.metric, run_id, connection, settings.output, settings.sql))
        except ConfigError as error:
            self._gate.failed(now)
            self._journal.not_started(child, str(error), self._gate.next_try - now)
            return
        except OSError as error:
            self._journal.not_started(child, reason_of(error), child.back_off(0.0, now))
            return
        child.begin(Run(process, run_id, password, now))
        self._ears.register(process.pipe, selectors.EVENT_READ, partial(self._hear, child))

    def _hear(self, child: Child) -> None:
        now, run = self._clock.monotonic(), child.run
        assert run is not None
        self._forkserver.hear()
        if run.exists(now):
            self._journal.started(child)
        self._take_reports(child, run, now)
        self.next_round = min(self.next_round, run.deadline)
        if run.silent:
            self._ears.unregister(run.process.pipe)
            self.next_round = 0.0

    def _take_reports(self, child: Child, run: Run, now: float) -> None:
        for report in run.hear(now):
            self._journal.heard(child, report)
            if isinstance(report, Connected):
                self._gate.succeeded(now, began=run.began)
                if child.retired:
                    run.stop(now)
                self.next_round = 0.0
            elif isinstance(report, Failed) and report.kind == "refused":
                self._gate.refused(now, run.password)

    def _look_at(self, child: Child, run: Run, now: float) -> None:
        if run.exists(now):
            self._journal.started(child)
        if now >= run.deadline:
            self._take_reports(child, run, now)  # nobody is judged who has said something
        run.judge(now)
        if run.over:
            self._take_reports(child, run, now)  # what it said last
            self._ended(child, run, now)
        else:
            self.next_round = min(self.next_round, run.deadline)

    def _ended(self, child: Child, run: Run, now: float) -> None:
        """Decide when a child that has ended starts again."""
        self.next_round = 0.0
        with contextlib.suppress(KeyError):  # its silence may have been noticed already
            self._ears.unregister(run.process.pipe)
        end = run.end(now)
        restart_in: Optional[float] = None
        if not end.planned and not child.retired:
            if not end.logged_in and end.kind in ("connection", "statement", "timeout", "hung"):
                self._gate.failed(now)
                child.start_at = now  # and the gate says when
            elif end.kind != "refused":
                if end.kind == "connection":
                    self._gate.doubt()
                restart_in = child.back_off(end.lasted, now)
        self._journal.ended(child, end, restart_in)
        child.run = None
        if child.retired:
            self._remove(child)
