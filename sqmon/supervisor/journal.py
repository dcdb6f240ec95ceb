"""The journal of the children: turns their reports and ends into events, and into counts for `status.json`."""

from __future__ import annotations

from typing import ContextManager, Mapping, Optional

from sqmon.clock import Clock, utc_stamp
from sqmon.health.status_file import MetricStatus
from sqmon.ipc.login_pause import PAUSE_SECONDS
from sqmon.ipc.reports import (
    DISK,
    ClockStepped,
    ColumnsMissing,
    Pending,
    Polled,
    RecordsDropped,
    Report,
    SecondMonitor,
    SegmentSealed,
    Step,
)
from sqmon.supervisor.absence import Absence
from sqmon.supervisor.child import Child
from sqmon.supervisor.event_fields import dropped_fields, step_fields
from sqmon.supervisor.event_stream import DISK_PATIENCE_SECONDS, EventStream
from sqmon.supervisor.run import Exit
from sqmon.supervisor.tally import Tally


class Journal:
    """Writes the events of all children and keeps the tally of each metric."""

    def __init__(
        self, events: EventStream, absences: Mapping[str, Absence], *, clock: Clock, last_runs: Optional[Mapping[str, int]] = None
    ) -> None:
        """`absences` says since when each metric was not polled before this start, `last_runs` when calls that change the server ran."""
        self._events = events
        self._absences = dict(absences)
        self._last_runs = dict(last_runs or {})
        self._clock = clock
        self._tallies: dict[str, Tally] = {}
        self._second_monitors: set[str] = set()

    def together(self) -> ContextManager[None]:
        """Return a context whose events are written at its end, all at once."""
        return self._events.together()

    def tally(self, metric: str) -> Tally:
        """Return the tally of `metric`, which begins now if the metric is new."""
        if metric not in self._tallies:
            self._tallies[metric] = tally = Tally(self._clock.time_ns())
            if metric in self._absences:
                tally.outage.absent(self._absences.pop(metric))
        return self._tallies[metric]

    def forget(self, metric: str) -> None:
        """Drop the tally of a metric that is no longer polled."""
        self._tallies.pop(metric, None)

    def due(self, child: Child) -> float:
        """Return when a child may start, in monotonic seconds: a call that changes the server waits for its interval to be over.

        Its worker may have died, or the whole service been restarted, and neither is a reason to call again.
        """
        metric, ran_ns = child.metric, self._last_runs.get(child.metric.name)
        if not metric.is_command or ran_ns is None:
            return child.start_at
        left = metric.interval - (self._clock.time_ns() - ran_ns) / 1e9
        return max(child.start_at, self._clock.monotonic() + min(left, metric.interval))

    def started(self, child: Child) -> None:
        """Write the event of a new run."""
        self._events.write("info", "worker_start", target=child.metric.name, target_run_id=child.run_id, pid=child.pid)

    def not_asked(self, child: Child, reason: str) -> None:
        """Take note of why a metric is not polled, though it should be."""
        self.tally(child.metric.name).outage.failed(reason, "")

    def not_started(self, child: Child, error: str, restart_in: float) -> None:
        """Write the event of a run for which the system gave no process."""
        reason = f"could not be started: {error}"
        self.tally(child.metric.name).outage.failed(reason, child.run_id)
        self._events.write("error", "worker_exit", target=child.metric.name, kind="died", reason=reason, restart_in_s=round(restart_in, 1))

    def heard(self, child: Child, report: Report) -> None:
        """Write the event of what a child reported, if there is one, and count it."""
        name = child.metric.name
        if isinstance(report, Step):
            self._step(child, report)
        elif isinstance(report, Polled):
            self._polled(child, report)
        elif isinstance(report, ColumnsMissing):
            self._events.write("warning", "columns_missing", target=name, target_run_id=child.run_id, columns=", ".join(report.names))
        elif isinstance(report, SecondMonitor):
            self._second_monitor(child, report.address)
        elif isinstance(report, SegmentSealed):
            self._events.sealed(report.sealed)
        elif isinstance(report, ClockStepped):
            self._events.write("warning", "clock_step", **step_fields(name, child.run_id, report.step))
        elif isinstance(report, RecordsDropped):
            self.tally(name).dropped += report.dropped.last_seq - report.dropped.first_seq + 1
            self._events.write("error", "gap", **dropped_fields(name, child.run_id, report.dropped))
        elif isinstance(report, Pending):
            self._pending(child, report)

    def recovered(self, child: Child) -> None:
        """Note that a child whose stops leave no gap, as what it missed it does later, is at work again."""
        outage = self.tally(child.metric.name).outage
        outage.reason = outage.latest = ""

    def ended(self, child: Child, end: Exit, restart_in: Optional[float]) -> None:
        """Write the event that says why a run ended and, if that is known, when the next one begins."""
        name, tally = child.metric.name, self.tally(child.metric.name)
        tally.pending, tally.disk_since = Pending("", 0), None
        if not end.planned:
            tally.restarts += 1
            tally.outage.failed(end.reason, child.run_id)
            self._events.left(name, child.run_id)
        self._events.write(
            "info" if end.planned else "error",
            "worker_exit",
            target=name,
            target_run_id=child.run_id,
            pid=end.pid,
            kind=end.kind,
            reason=end.reason,
            exit_code=end.code if end.code is not None and end.code >= 0 else None,
            signal=-end.code if end.code is not None and end.code < 0 else None,
            lasted_s=round(end.lasted, 1),
            restart_in_s=None if restart_in is None else round(restart_in, 1),
            traceback=end.traceback or None,
        )
        if end.kind == "refused":
            until = utc_stamp(self._clock.time_ns() + int(PAUSE_SECONDS * 1e9))
            self._events.write("error", "login_paused", target=name, reason=end.reason, until=until)

    def missing(self, child: Child) -> None:
        """Write the gap that is still open when a metric ceases to be polled."""
        outage = self.tally(child.metric.name).outage
        if outage.reason:
            self._events.write("warning", "gap", target=child.metric.name, **outage.gap(self._clock.time_ns()))

    def status(self, child: Child) -> MetricStatus:
        """Return the status of a metric as it is now."""
        tally, last = self.tally(child.metric.name), self.tally(child.metric.name).last_poll
        silent = tally.disk_silence(self._clock.monotonic())
        error = (
            f"the disk has not answered for {silent:.0f} s"
            if silent > DISK_PATIENCE_SECONDS
            else tally.outage.latest or tally.pending.trouble
        )
        return MetricStatus(
            name=child.metric.name,
            state=child.state,
            healthy=not error,
            interval=child.metric.interval,
            pid=child.pid,
            run_id=child.run_id,
            polls=tally.polls,
            failed_polls=tally.failed_polls,
            skipped=tally.skipped,
            records=tally.records,
            dropped=tally.dropped,
            restarts=tally.restarts,
            last_status=last.status if last else "",
            last_rows=last.rows if last else None,
            last_duration_ms=last.duration_ms if last else None,
            last_success=utc_stamp(tally.last_success_ns) if tally.last_success_ns else None,
            error=error,
            pending_bytes=tally.pending.bytes,
        )

    def _polled(self, child: Child, polled: Polled) -> None:
        name, tally = child.metric.name, self.tally(child.metric.name)
        good = polled.error is None
        tally.polls += 1
        tally.failed_polls += not good
        tally.skipped += polled.skipped
        tally.last_poll = polled
        if polled.skipped:
            self._events.write("warning", "poll", target=name, target_run_id=child.run_id, status="skipped", skipped=polled.skipped)
        self._events.write(
            "info" if good else "warning",
            "poll",
            target=name,
            target_run_id=child.run_id,
            status=polled.status,
            poll=polled.poll,
            began=utc_stamp(polled.began_ns),
            rows=polled.rows,
            duration_ms=polled.duration_ms,
            late_ms=polled.late_ms,
            first_seq=polled.first_seq,
            last_seq=polled.last_seq,
            error=polled.error,
            **(polled.changes._asdict() if polled.changes is not None else {}),
        )
        if not good:
            tally.outage.failed(polled.error or "", child.run_id)
            return
        now_ns = self._clock.time_ns()
        tally.last_success_ns = now_ns
        if polled.first_seq is not None and polled.last_seq is not None:
            tally.records += polled.last_seq - polled.first_seq + 1
        if polled.result is not None:
            self._last_runs[name] = now_ns
            result = " ".join(polled.result)
            self._events.write("info", "state_change", target=name, target_run_id=child.run_id, query=child.metric.query, result=result)
        gap = tally.outage.polled(now_ns, child.metric)
        if gap:
            self._events.write("warning", "gap", **gap)

    def _second_monitor(self, child: Child, address: str) -> None:
        """Write an event for each address once, however often the worker that saw it is replaced."""
        if address not in self._second_monitors:
            self._second_monitors.add(address)
            self._events.write("warning", "second_monitor", target=child.metric.name, target_run_id=child.run_id, address=address)

    def _step(self, child: Child, step: Step) -> None:
        """Note since when the child has waited for the disk, and write an event when that took too long."""
        tally, now = self.tally(child.metric.name), self._clock.monotonic()
        silent, tally.disk_since = tally.disk_silence(now), now if step == DISK else None
        if silent > DISK_PATIENCE_SECONDS:
            self._events.warn_of_disk(child.metric.name, child.run_id, f"the disk did not answer for {silent:.1f} s")

    def _pending(self, child: Child, pending: Pending) -> None:
        """Write events when the disk begins or ceases to refuse lines or to be in trouble; what comes in between is in `status.json`."""
        tally = self.tally(child.metric.name)
        was, tally.pending = tally.pending, pending
        if bool(pending.bytes) != bool(was.bytes):
            self._events.write(
                "error" if pending.bytes else "info",
                "backlog",
                target=child.metric.name,
                target_run_id=child.run_id,
                reason=pending.trouble if pending.bytes else "over",
                bytes=pending.bytes,
            )
        if pending.warning != was.warning:
            self._events.warn_of_disk(child.metric.name, child.run_id, pending.warning)
