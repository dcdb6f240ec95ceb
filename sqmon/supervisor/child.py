"""One metric's process as the supervisor sees it: started, heard, timed, ended, and why it ended."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import NamedTuple, Optional

import msgspec

from sqmon.config.settings import Metric
from sqmon.ipc.reports import Connected, Failed, Report, Step, decode
from sqmon.ipc.start import WORKER, Start, run_module
from sqmon.supervisor.backoff import Backoff

GRACE_SECONDS = 5.0
"""How much longer than its own deadline a child may take before it is killed."""

_START_SECONDS = 10.0
_MAX_REPORT = 1 << 16


class Exit(NamedTuple):
    """The end of one run."""

    reason: str
    """In words: the error it reported, the signal, what it hung in."""
    kind: str
    """refused, connection, statement, timeout, bug (as in reports.Failed), hung, died, or stopped."""
    logged_in: bool
    """Whether it got past the login."""
    pid: Optional[int]
    code: Optional[int]
    """As multiprocessing has it: negative for a signal, None when nobody knows."""
    planned: bool
    lasted: float
    """Seconds."""
    traceback: str


class Child:
    """The process of one metric, through all its runs.

    `state` is waiting (for its next start), starting (until the login worked), polling, or stopping.
    """

    def __init__(self, metric: Metric, *, start_at: float, context: ForkServerContext, after: Optional[Child] = None) -> None:
        self.metric = metric
        self.state = "waiting"
        self.start_at = start_at
        self.deadline = float("inf")
        """Monotonic seconds after which the child is killed."""
        self.run_id = ""
        self.pid: Optional[int] = None
        self.failed: Optional[Failed] = None
        self.retired = False
        """Whether it is not to be started any more."""
        self._after = after
        self._context = context
        self._backoff = Backoff(jitter=random.Random())
        self._process: Optional[ForkServerProcess] = None
        self._pipe: Optional[socket.socket] = None
        self._step = Step("start", 0.0)
        self._step_began = 0.0
        self._started = 0.0
        self._killed_for = ""
        self._logged_in = False

    @property
    def alive(self) -> bool:
        """Whether there is a process that was not yet seen to end."""
        return self._process is not None

    @property
    def waits_for_another(self) -> bool:
        """Whether the child that had this metric before is still there."""
        return self._after is not None and self._after.alive

    @property
    def pipe(self) -> int:
        """The descriptor of the reports; at its end the process is gone."""
        assert self._pipe is not None
        return self._pipe.fileno()

    def start(self, start: Start, now: float) -> None:
        """Start a new run; raises OSError when the system gives no process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = self._context.Process(target=run_module, args=(WORKER, start, theirs), name=self.metric.name, daemon=True)
            try:
                process.start()
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._process, self._pipe, self.pid = process, ours, process.pid
        self.state, self.run_id, self.failed, self._killed_for = "starting", start.run_id, None, ""
        self._logged_in = False
        self._started = now
        self._take_step(Step("start", _START_SECONDS), now)

    def receive(self, now: float) -> tuple[list[Report], bool]:
        """Return the reports that have come, and whether they were the last: the process is gone or going."""
        assert self._pipe is not None
        reports: list[Report] = []
        while True:
            try:
                message = self._pipe.recv(_MAX_REPORT)
            except BlockingIOError:
                return reports, False
            except ConnectionResetError:
                message = b""
            if not message:
                return reports, True
            try:
                report = decode(message)
            except msgspec.MsgspecError as error:
                # No worker of ours says such a thing; whatever it has become, it must go.
                self._killed_for = self._killed_for or f"sent a report that can't be read: {error}"
                self._send(signal.SIGKILL)
                continue
            self._take(report, now)
            reports.append(report)

    def stop(self, now: float) -> None:
        """Ask the process to end; it is killed when it has not done so in time."""
        if self.state == "stopping" or not self.alive:
            return
        # One that is not logged in has written nothing, and may not have its handlers yet.
        number = signal.SIGKILL if self.state == "starting" else signal.SIGTERM
        self.state, self.deadline = "stopping", now + GRACE_SECONDS
        self._send(number)

    def retire(self, now: float) -> None:
        """Stop for good."""
        self.retired = True
        self.stop(now)

    def kill_if_overdue(self, now: float) -> None:
        """Kill a process that is past its deadline, and remember in words what it hung in."""
        if now < self.deadline or not self.alive:
            return
        self.deadline = float("inf")
        if not self._killed_for:
            self._killed_for = f"hung for {now - self._step_began:.1f} s in {self._step.name}"
            if self.state == "stopping":
                self._killed_for = f"did not stop within {GRACE_SECONDS:g} s (in {self._step.name})"
        self._send(signal.SIGKILL)

    def reap(self, now: float) -> Exit:
        """Return how the process ended, after its reports have; the child then waits for its next start."""
        assert self._process is not None
        assert self._pipe is not None
        process, lasted = self._process, now - self._started
        process.join(GRACE_SECONDS)
        code = process.exitcode
        if code is not None:
            process.close()
        self._pipe.close()
        planned = self.state == "stopping" and not self._killed_for
        if planned:
            kind = "stopped"
        elif self._killed_for:
            kind = "hung"
        else:
            kind = self.failed.kind if self.failed is not None else "died"
        end = Exit(
            reason="stopped" if planned else self._reason(code),
            kind=kind,
            logged_in=self._logged_in,
            pid=self.pid,
            code=code,
            planned=planned,
            lasted=lasted,
            traceback=self.failed.traceback if self.failed is not None else "",
        )
        self._process = self._pipe = self.pid = None
        self.state, self.deadline = "waiting", float("inf")
        return end

    def kill(self) -> None:
        """End the process at once, as the last resort of a supervisor that is ending itself."""
        if self._process is not None:
            self._send(signal.SIGKILL)

    def back_off(self, lasted: float, now: float) -> float:
        """Put the next start off, longer with each failure in a row; return the seconds."""
        wait = self._backoff.wait(lasted)
        self.start_at = now + wait
        return wait

    def _take(self, report: Report, now: float) -> None:
        if isinstance(report, Step):
            self._take_step(report, now)
        elif isinstance(report, Connected):
            self._logged_in = True
            self.state = "polling" if self.state == "starting" else self.state
        elif isinstance(report, Failed):
            self.failed = report

    def _take_step(self, step: Step, now: float) -> None:
        self._step, self._step_began = step, now
        if self.state != "stopping":
            self.deadline = now + step.seconds + GRACE_SECONDS

    def _reason(self, code: Optional[int]) -> str:
        if self._killed_for:
            return f"{self._killed_for}, killed"
        if self.failed is not None:
            return self.failed.error
        if code is None:
            return "ended without a trace"
        if code < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code).name
                return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
            return f"killed by signal {-code}"
        return f"exit code {code}" if code else "ended without having been asked to"

    def _send(self, number: signal.Signals) -> None:
        assert self.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
