"""One living process of a metric: its reports, its deadline, its end, and why it ended."""

from __future__ import annotations

import contextlib
import signal
from typing import NamedTuple, Optional

import msgspec

from sqmon.ipc.reports import Connected, Failed, Report, Step, decode
from sqmon.supervisor.forkserver import Process

GRACE_SECONDS = 5.0
"""How much longer than its own deadline a process may take before it is killed."""

_START_SECONDS = 10.0
_CODE_SECONDS = 0.5
_DEATH_SECONDS = 1.0
_MAX_REPORT = 1 << 16


class Exit(NamedTuple):
    """The end of one run."""

    reason: str
    """In words: the error it reported, the signal, what it hung in."""
    kind: str
    """refused, connection, statement, timeout, files, bug (as in reports.Failed), hung, died, or stopped."""
    logged_in: bool
    """Whether it got past the login."""
    pid: Optional[int]
    code: Optional[int]
    """Negative for a signal, None when nobody knows."""
    planned: bool
    lasted: float
    """Seconds."""
    traceback: str


class Run:
    """A process from its order to its end. `state` is starting (until the login worked), polling, or stopping."""

    def __init__(self, process: Process, run_id: str, password: str, now: float) -> None:
        self.process = process
        self.run_id = run_id
        self.password = password
        """What it logs in with."""
        self.began = now
        self.state = "starting"
        self.deadline = float("inf")
        """Monotonic seconds after which it is judged; none until the process exists, which is up to the forkserver."""
        self.announced = False
        """Whether it was told that the process exists."""
        self.stuck = False
        """Whether it lives on though it was killed, as a process does that waits for a device."""
        self._failed: Optional[Failed] = None
        self._step = Step("start", 0.0)
        self._step_began = now
        self._killed_for = ""
        self._logged_in = False
        self._silent = False
        self._gone = False
        process.pipe.setblocking(False)

    @property
    def over(self) -> bool:
        """Whether the process is gone and all that can be known of its end is known."""
        return self._gone or self.process.code is not None or bool(self.process.error)

    def exists(self, now: float) -> bool:
        """Return True the first time that the process is known to exist; from then on its start is timed."""
        if self.announced or self.process.pid is None:
            return False
        self.announced = True
        if self.deadline == float("inf"):
            self.deadline = now + _START_SECONDS
        return True

    def hear(self, now: float) -> list[Report]:
        """Return what the process has reported since it was last heard."""
        reports: list[Report] = []
        while not self._silent:
            try:
                message = self.process.pipe.recv(_MAX_REPORT)
            except BlockingIOError:
                break
            except ConnectionResetError:
                message = b""
            if not message:
                # The forkserver tells how it ended a moment later, if it still can.
                self._silent, self.deadline = True, now + _CODE_SECONDS
                break
            try:
                report = decode(message)
            except msgspec.MsgspecError as error:
                # No worker of ours says such a thing; whatever it has become, it must go.
                self._kill(f"sent a report that can't be read: {error}", now)
                continue
            self._take(report, now)
            reports.append(report)
        return reports

    @property
    def silent(self) -> bool:
        """Whether nothing more will be heard."""
        return self._silent

    def stop(self, now: float) -> None:
        """Ask the process to end; it is killed when it has not done so in time."""
        if self.state == "stopping":
            return
        starting, self.state = self.state == "starting" and self._failed is None, "stopping"
        self.deadline = now + GRACE_SECONDS
        if starting:
            # It has nothing to finish, and may not have its handlers or not even exist yet.
            self.process.kill()
            self._gone = self.process.pid is None
        else:
            self.process.signal(signal.SIGTERM)

    def judge(self, now: float) -> None:
        """Deal with a process that is past its deadline: kill it, and remember in words what it hung in."""
        if now < self.deadline or self._gone:
            return
        if self._silent:
            self._gone = True
        elif self._killed_for:
            self.stuck, self.deadline = True, float("inf")
        elif self.state == "stopping":
            self._kill(f"did not stop within {GRACE_SECONDS:g} s (in {self._step.name})", now)
        else:
            self._kill(f"hung for {now - self._step_began:.1f} s in {self._step.name}", now)

    def forgive(self, seconds: float) -> None:
        """Leave a time out of account in which nobody could have been heard."""
        self.deadline += seconds
        self._step_began += seconds

    def end(self, now: float) -> Exit:
        """Return how it ended, and let go of the process."""
        self.process.close()
        planned = self.state == "stopping" and not self._killed_for
        if planned:
            kind = "stopped"
        elif self._killed_for:
            kind = "hung"
        else:
            kind = self._failed.kind if self._failed is not None else "died"
        return Exit(
            reason="stopped" if planned else self._reason(),
            kind=kind,
            logged_in=self._logged_in,
            pid=self.process.pid,
            code=self.process.code,
            planned=planned,
            lasted=now - self.began,
            traceback=self._failed.traceback if self._failed is not None else "",
        )

    def _kill(self, reason: str, now: float) -> None:
        self._killed_for = self._killed_for or reason
        self.deadline = now + _DEATH_SECONDS
        self.process.kill()

    def _take(self, report: Report, now: float) -> None:
        if isinstance(report, Step):
            self._step, self._step_began = report, now
            if self.state != "stopping" and not self._killed_for:
                self.deadline = now + report.seconds + GRACE_SECONDS
        elif isinstance(report, Connected):
            self._logged_in = True
            self.state = "polling" if self.state == "starting" else self.state
        elif isinstance(report, Failed):
            self._failed = report

    def _reason(self) -> str:
        if self._killed_for:
            lives_on = ", but lives on inside the kernel (waiting for a disk?)" if self.stuck else ""
            return f"{self._killed_for}, killed{lives_on}"
        if self._failed is not None:
            return self._failed.error
        if self.process.error:
            return f"could not be started: {self.process.error}"
        return how_ended(self.process.code)


def how_ended(code: Optional[int]) -> str:
    """Return in words how a process ended: by an exit code, a signal (negative), or nobody knows (None)."""
    if code is None:
        return "ended, and the forkserver that would know how was gone before"
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"killed by signal {-code}"
    return f"exit code {code}" if code else "ended without having been asked to"
