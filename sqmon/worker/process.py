"""The worker: logs in, polls at each tick, and ends at the first error."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import traceback
from types import FrameType
from typing import Iterator, Optional

from sqmon.clock import Clock, SystemClock
from sqmon.database.client import Database
from sqmon.database.error_texts import readable
from sqmon.errors import LoginError, QueryTimeoutError, SqmonError, StatementError
from sqmon.ipc.login_pause import LoginPause
from sqmon.ipc.reports import DISK, ClockStepped, Connected, Failed, Pending, RecordsDropped, Report, SegmentSealed, Step, encode
from sqmon.ipc.start import Start
from sqmon.records.pipeline import Pipeline
from sqmon.storage.streams import streams_of
from sqmon.storage.writer import Dropped, LineWriter
from sqmon.worker.poller import Poller
from sqmon.worker.schedule import Schedule
from sqmon.worker.second_monitor import METRIC, Watch, is_local

_RETRY_SECONDS = 0.5
_LONGEST_TRACEBACK = 16000
_IDLE_SECONDS = 5.0
_LOGIN_SECONDS = 10.0  # other logins wait for this one, see login_gate


class Stopped(BaseException):
    """SIGTERM came while the worker was waiting for somebody; not an Exception, so that nothing on the way takes it for an error."""


def main(start: Start, pipe: socket.socket) -> None:
    """Run one worker until SIGTERM, the first error, or the death of the supervisor (see forkserver); ends the process itself."""
    code = 1
    try:
        try:
            code = Worker(start, pipe, clock=SystemClock()).run()
        except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor must hear of it
            pipe.send(encode(_bug(error)))
    finally:
        # Nothing of ours is left to flush, and no thread or finalizer of a driver may hold the process.
        os._exit(code)


def _bug(error: Exception) -> Failed:
    return Failed("bug", readable(f"{type(error).__name__}: {error}"), traceback.format_exc()[-_LONGEST_TRACEBACK:])


class Worker:
    """One run of one metric."""

    def __init__(self, start: Start, pipe: socket.socket, *, clock: Clock) -> None:
        self._start = start
        self._streams = streams_of(start.output)
        self._pause = LoginPause(start.connection, start.output)
        self._pipe = pipe
        self._clock = clock
        self._stopping = False
        self._may_interrupt = False
        self._pending = Pending("", 0)
        self._writing = False
        for number in (signal.SIGINT, signal.SIGHUP):
            # A terminal sends these to the whole group; only the supervisor answers them.
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def run(self) -> int:
        """Poll until told to stop (returns 0) or until the first error, which is reported (returns 1)."""
        try:
            with self._writer() as writer:
                self._poll_forever(writer)
        except Stopped:
            pass
        except LoginError as error:
            # First the supervisor, which lets nobody else try from now on, then the disk, which may take its time.
            self._report(Failed("refused", str(error)))
            self._report(DISK)
            self._pause.begin(self._start.connection.password.read(), str(error), self._clock.time_ns())
        except QueryTimeoutError as error:
            self._report(Failed("timeout", str(error)))
        except StatementError as error:
            self._report(Failed("statement", str(error)))
        except SqmonError as error:
            self._report(Failed("connection", str(error)))
        except BrokenPipeError:
            pass  # the supervisor is gone, and with it everybody who could be told
        except OSError as error:  # the host has no descriptors, memory or threads left
            self._report(Failed("connection", readable(str(error))))
        except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor must hear of it
            self._report(_bug(error))
        return 0 if self._stopping else 1

    def _poll_forever(self, writer: LineWriter) -> None:
        metric, to = self._start.metric, self._start.connection
        with contextlib.closing(Database(to)) as database:
            began_ns, seconds = self._clock.time_ns(), min(metric.timeout, _LOGIN_SECONDS)
            with self._interruptible():
                self._report(Step("login", seconds))
                database.connect(seconds)
            self._report(Connected())
            self._report(DISK)
            self._pause.end(began_ns)
            encoder = self._streams.encoder(metric.name, self._start.run_id, on_step=lambda step: self._report(ClockStepped(step)))
            watch = Watch(to.user, self._report, is_local) if metric.name == METRIC else None
            pipeline = Pipeline(metric, to, self._start.sql, encoder, watch.look if watch else None)
            self._on_loss = pipeline.restart
            poller = Poller(metric, database, pipeline, writer, clock=self._clock, report=self._report)
            schedule = Schedule(metric.interval, self._clock.monotonic())
            try:
                while True:
                    tick = schedule.next(self._clock.monotonic())
                    self._wait(tick.due, poller, writer)
                    with self._interruptible():
                        fetched = poller.fetch(tick)
                    poller.write(fetched)
                    del fetched  # the rows of a large poll must not stay until the next one
            finally:
                self._tend(poller, writer)

    def _wait(self, due: float, poller: Poller, writer: LineWriter) -> None:
        """Sleep until `due`, and meanwhile let the writer do what it has to."""
        while True:
            self._tend(poller, writer)
            left = due - self._clock.monotonic()
            pause = min(left, _RETRY_SECONDS if writer.pending else _IDLE_SECONDS)
            if pause > 0:
                self._report(Step("wait", pause))
            with self._interruptible():
                time.sleep(max(pause, 0.0))
            if pause == left:
                return

    def _tend(self, poller: Poller, writer: LineWriter) -> None:
        """Let the writer retry, rotate and fsync, and report what has become of earlier lines."""
        self._report(DISK)
        writer.tick()
        poller.settle()
        self._report_trouble(writer)

    def _report_trouble(self, writer: LineWriter) -> None:
        pending = Pending(writer.trouble.partition(": ")[2], writer.pending)
        if pending != self._pending:
            self._pending = pending
            self._report(pending)

    @contextlib.contextmanager
    def _writer(self) -> Iterator[LineWriter]:
        writer = self._streams.writer(
            self._start.metric.name,
            clock=self._clock,
            on_sealed=lambda sealed: self._report(SegmentSealed(sealed)),
            on_dropped=self._on_dropped,
        )
        with contextlib.ExitStack() as stack:
            stack.callback(self._report_trouble, writer)
            stack.callback(writer.close)
            stack.callback(self._report, DISK)
            yield writer

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let SIGTERM end what is done here; everywhere else, a write among it, it only leaves a note."""
        self._may_interrupt = True
        try:
            if self._stopping:
                raise Stopped
            yield
        finally:
            self._may_interrupt = False

    def _on_sigterm(self, _: int, __: Optional[FrameType]) -> None:
        self._stopping = True
        if self._may_interrupt:
            self._may_interrupt = False
            raise Stopped

    def _on_dropped(self, dropped: Dropped) -> None:
        self._on_loss()
        self._report(RecordsDropped(dropped))

    def _report(self, report: Report) -> None:
        if isinstance(report, Step):
            if report is DISK and self._writing:
                return  # one report is enough for what follows on each other
            self._writing = report is DISK
        self._pipe.send(encode(report))
