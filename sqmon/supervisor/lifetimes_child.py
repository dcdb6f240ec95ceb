"""The child that runs the process `lifetimes`: one more beside those of the metrics, without a login and without polls."""

from __future__ import annotations

import contextlib
import selectors

from sqmon.clock import Clock
from sqmon.config.settings import Metric, SegmentOutput
from sqmon.errors import reason_of
from sqmon.health.status_file import LifetimesStatus
from sqmon.ipc.reports import Followed
from sqmon.ipc.start import LIFETIMES
from sqmon.records.encoder import new_run_id
from sqmon.supervisor.child import Child
from sqmon.supervisor.forkserver import Forkserver
from sqmon.supervisor.journal import Journal
from sqmon.supervisor.run import Run

_STREAM = Metric("lifetimes", interval=1.0, timeout=1.0, query="")


class LifetimesChild:
    """Starts the process, hears it about once a second, and starts it again with backoff when it has ended.

    Nobody waits for it: what it has not written when the service stops, the next one writes.
    """

    def __init__(
        self, output: SegmentOutput, journal: Journal, *, forkserver: Forkserver, selector: selectors.BaseSelector, clock: Clock
    ) -> None:
        self._output = output
        self._journal = journal
        self._forkserver = forkserver
        self._selector = selector
        self._clock = clock
        self._child = Child(_STREAM, start_at=0.0)
        self._followed = Followed(0, 0.0)
        self._stopping = False

    @property
    def running(self) -> bool:
        """Whether a process lives that can be waited for."""
        run = self._child.run
        return run is not None and not run.stuck

    def look(self, now: float) -> None:
        """Hear what the process has reported, judge it, and start the next one; call it about once a second."""
        run = self._child.run
        if run is not None:
            self._look_at(run, now)
        elif not self._stopping and now >= self._child.start_at and not self._forkserver.busy:
            self._start(now)

    def forgive(self, seconds: float) -> None:
        """Leave a time out of account in which the supervisor was asleep and heard nobody."""
        if self._child.run is not None:
            self._child.run.forgive(seconds)

    def stop(self, now: float) -> None:
        """Ask the process to end, and have the loop woken when it does; no other one is started."""
        self._stopping = True
        run = self._child.run
        if run is not None:
            self._selector.register(run.process.pipe, selectors.EVENT_READ, self._hear)
            run.stop(now)

    def finish(self) -> None:
        """Kill what is left."""
        run = self._child.run
        if run is not None:
            self._ended(run, self._clock.monotonic())

    def status(self) -> LifetimesStatus:
        """Return how it is now."""
        status = self._journal.status(self._child)
        return LifetimesStatus(
            state="following" if status.state == "polling" else status.state,
            pid=status.pid,
            run_id=status.run_id,
            lines=self._followed.lines,
            behind_s=round(self._followed.behind_s, 1),
            restarts=status.restarts,
            error=status.error,
        )

    def _start(self, now: float) -> None:
        run_id = new_run_id(self._clock.time_ns())
        try:
            process = self._forkserver.start(LIFETIMES, self._output, run_id)
        except OSError as error:
            self._journal.not_started(self._child, reason_of(error), self._child.back_off(0.0, now))
            return
        self._child.begin(Run(process, run_id, "", now))

    def _look_at(self, run: Run, now: float) -> None:
        if run.exists(now):
            self._journal.started(self._child)
        self._hear()
        run.judge(now)
        if run.over:
            self._hear()  # what it said last
            self._ended(run, now)

    def _hear(self) -> None:
        run, now = self._child.run, self._clock.monotonic()
        if run is None:
            return
        for report in run.hear(now):
            self._journal.heard(self._child, report)
            if isinstance(report, Followed):
                self._followed = report
                self._journal.recovered(self._child)
        if run.silent:
            self._unregister(run)

    def _ended(self, run: Run, now: float) -> None:
        self._unregister(run)
        end = run.end(now)
        restart_in = None if end.planned or self._stopping else self._child.back_off(end.lasted, now)
        self._journal.ended(self._child, end, restart_in)
        self._child.run = None

    def _unregister(self, run: Run) -> None:
        with contextlib.suppress(KeyError, ValueError):  # only while it is being stopped, and only once
            self._selector.unregister(run.process.pipe)
