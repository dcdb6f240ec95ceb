"""The main process of `sqmon run`: one loop that starts a child per metric, hears them, times them, and starts them again."""

from __future__ import annotations

import hashlib
import selectors
import signal
import socket
from multiprocessing.context import ForkServerContext
from typing import Any, Optional

from sqmon.child import Child, Exit
from sqmon.clock import Clock, utc_stamp
from sqmon.config import Metric, Settings
from sqmon.errors import SqmonError
from sqmon.events import Events, dropped_fields, sealed_fields
from sqmon.gate import PAUSE_SECONDS, LoginGate
from sqmon.outage import Outage
from sqmon.record import new_run_id
from sqmon.reports import Connected, Polled, RecordsDropped, Report, SegmentSealed
from sqmon.schedule import spread
from sqmon.worker import Start

_TURN_SECONDS = 1.0
_BUSY_SECONDS = 0.25
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """The children of one service and everything that is known of them."""

    def __init__(self, settings: Settings, metrics: list[Metric], events: Events, *, context: ForkServerContext, clock: Clock) -> None:
        self._settings = settings
        self._events = events
        self._clock = clock
        self._gate = LoginGate(self._password_digest)
        self._selector = selectors.DefaultSelector()
        self._stopped_by = ""
        now = clock.monotonic()
        shortest = min(metric.interval for metric in metrics)
        self._children = [
            Child(metric, start_at=now + spread(index, len(metrics), shortest), context=context) for index, metric in enumerate(metrics)
        ]
        self._outages = {child: Outage(clock.time_ns()) for child in self._children}
        self._next_round = now

    def run(self) -> None:
        """Keep the children going until SIGTERM or SIGINT, then stop them; at the end no child is left and `stop` is written."""
        wake = _signals()
        self._selector.register(wake, selectors.EVENT_READ)
        try:
            while not self._stopped_by:
                self._turn(wake)
            for child in self._children:
                child.stop(self._clock.monotonic())
                self._next_round = 0.0
            while any(child.alive for child in self._children):
                self._turn(wake)
        finally:
            for child in self._children:
                child.kill()
                outage = self._outages[child]
                if outage.reason:
                    self._events.write("warning", "gap", target=child.metric.name, **outage.gap(self._clock.time_ns()))
            self._events.write("info", "stop", reason=self._stopped_by or "error")
            self._events.close()

    def _turn(self, wake: socket.socket) -> None:
        """Wait for the next thing to happen, and deal with all that has."""
        patience = min(self._next_round - self._clock.monotonic(), _BUSY_SECONDS if self._events.pending else _TURN_SECONDS)
        for key, _ in self._selector.select(max(patience, 0.0)):
            if key.fileobj is wake:
                for number in wake.recv(4096):
                    self._on_signal(signal.Signals(number))
            else:
                self._hear(key.data)
        now = self._clock.monotonic()
        if now >= self._next_round:
            self._go_round(now)
        self._events.tick()

    def _on_signal(self, number: signal.Signals) -> None:
        if number in _STOP_SIGNALS:
            self._stopped_by = self._stopped_by or number.name

    def _go_round(self, now: float) -> None:
        """Look at every child: kill those that hang, start those that may. Between rounds only reports are looked at."""
        self._next_round = now + _TURN_SECONDS
        for child in self._children:
            child.kill_if_overdue(now)
            if not child.alive and not self._stopped_by:
                if child.start_at <= now and self._gate.lets(now, trying=sum(other.state == "starting" for other in self._children)):
                    self._start(child, now)
                elif child.start_at > now:
                    self._next_round = min(self._next_round, child.start_at)
            self._next_round = min(self._next_round, child.deadline)
        if self._gate.next_try > now:
            self._next_round = min(self._next_round, self._gate.next_try)

    def _start(self, child: Child, now: float) -> None:
        run_id = new_run_id(self._clock.time_ns())
        try:
            child.start(Start(child.metric, run_id, self._settings.connection, self._settings.output), now)
        except (OSError, EOFError) as error:
            wait = child.back_off(0.0, now)
            self._events.write(
                "error",
                "worker_exit",
                target=child.metric.name,
                reason=f"could not be started: {error}",
                restart_in_s=round(wait, 1),
            )
            return
        self._selector.register(child.pipe, selectors.EVENT_READ, child)
        self._events.write("info", "worker_start", target=child.metric.name, target_run_id=run_id, pid=child.pid)

    def _hear(self, child: Child) -> None:
        now = self._clock.monotonic()
        pipe, was_alive = child.pipe, child.alive
        reports, last = child.receive(now)
        for report in reports:
            self._tell(child, report)
        self._next_round = min(self._next_round, child.deadline)
        if last and was_alive:
            self._selector.unregister(pipe)
            self._ended(child, child.reap(now), now)

    def _tell(self, child: Child, report: Report) -> None:
        """Put what a child reported into the `sqmon` stream."""
        name, run_id = child.metric.name, child.run_id
        if isinstance(report, Polled):
            self._polled(child, report)
        elif isinstance(report, SegmentSealed):
            self._events.write("info", "segment_sealed", **sealed_fields(report.sealed))
        elif isinstance(report, RecordsDropped):
            self._events.write("error", "gap", **dropped_fields(name, run_id, report.dropped))
        elif isinstance(report, Connected):
            self._gate.succeeded()
            self._next_round = 0.0

    def _polled(self, child: Child, polled: Polled) -> None:
        name, run_id = child.metric.name, child.run_id
        if polled.skipped:
            self._events.write("warning", "poll", target=name, target_run_id=run_id, status="skipped", skipped=polled.skipped)
        good = polled.error is None
        self._events.write(
            "info" if good else "warning",
            "poll",
            target=name,
            target_run_id=run_id,
            status=polled.status,
            poll=polled.poll,
            rows=polled.rows,
            duration_ms=polled.duration_ms,
            late_ms=polled.late_ms,
            first_seq=polled.first_seq,
            last_seq=polled.last_seq,
            error=polled.error,
        )
        if polled.result is not None:
            self._events.write(
                "info",
                "state_change",
                target=name,
                target_run_id=run_id,
                query=child.metric.query,
                result=" ".join(polled.result),
            )
        if good:
            gap = self._outages[child].polled(self._clock.time_ns(), child.metric)
            if gap:
                self._events.write("warning", "gap", **gap)

    def _ended(self, child: Child, end: Exit, now: float) -> None:
        """Say why a child ended, and decide when it starts again."""
        self._next_round = 0.0
        wait: Optional[float] = None
        if not end.planned:
            self._outages[child].failed(end.reason, child.run_id)
            if not end.logged_in and end.kind in ("refused", "connection", "statement", "timeout", "hung"):
                child.start_at = now
                (self._gate.refused if end.kind == "refused" else self._gate.failed)(now)
            else:
                if end.kind == "connection":
                    self._gate.doubt()
                wait = child.back_off(end.lasted, now)
        self._events.write(
            "info" if end.planned else "error",
            "worker_exit",
            target=child.metric.name,
            target_run_id=child.run_id,
            pid=end.pid,
            kind=end.kind,
            reason=end.reason,
            exit_code=end.code if end.code is None or end.code >= 0 else None,
            signal=-end.code if end.code is not None and end.code < 0 else None,
            lasted_s=round(end.lasted, 1),
            restart_in_s=None if wait is None else round(wait, 1),
            traceback=end.traceback or None,
        )
        if end.kind == "refused":
            until = utc_stamp(self._clock.time_ns() + int(PAUSE_SECONDS * 1e9))
            self._events.write("error", "login_paused", target=child.metric.name, reason=end.reason, until=until)

    def _password_digest(self) -> object:
        """Return something that changes when the password does, and that is not the password."""
        try:
            return hashlib.sha256(self._settings.connection.read_password().encode()).digest()
        except SqmonError as error:
            return str(error)


def _signals() -> socket.socket:
    """Return a socket from which the numbers of the signals can be read that this process gets; nothing else happens on a signal."""
    wake, sink = socket.socketpair()
    wake.setblocking(False)
    sink.setblocking(False)
    signal.set_wakeup_fd(sink.detach(), warn_on_full_buffer=False)
    for number in (*_STOP_SIGNALS, signal.SIGHUP):
        signal.signal(number, _ignore)
    return wake


def _ignore(*_: Any) -> None:
    """Be a handler, so that the number goes to the wake-up descriptor."""
