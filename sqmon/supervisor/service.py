"""The service from start to stop: locks the directory, runs the checks, writes the start event, and runs the loop."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from types import FrameType
from typing import TYPE_CHECKING, Iterable, Optional, Sequence

from sqmon import __version__
from sqmon.clock import SystemClock
from sqmon.config import metrics_file
from sqmon.config.reload import MetricsFile
from sqmon.config.settings import Metric, Settings
from sqmon.errors import SqmonError
from sqmon.health.publisher import Publisher
from sqmon.health.systemd import SystemdNotifier
from sqmon.ipc.check import Outcome
from sqmon.records.encoder import new_run_id
from sqmon.storage.permissions import share_with_group
from sqmon.storage.streams import Streams, streams_of
from sqmon.supervisor import startup_checks
from sqmon.supervisor.absence import LOOK_BACK_BYTES, LookBack, booted_ns, look_back
from sqmon.supervisor.archivist import Archivist
from sqmon.supervisor.event_stream import STREAM, EventStream
from sqmon.supervisor.forkserver import Forkserver
from sqmon.supervisor.journal import Journal
from sqmon.supervisor.lifetimes_child import LifetimesChild
from sqmon.supervisor.log_directory import LogDirectory
from sqmon.supervisor.loop import Supervisor
from sqmon.supervisor.sealer import Sealer
from sqmon.supervisor.state_changes import last_runs
from sqmon.supervisor.sweeper import Sweeper

if TYPE_CHECKING:
    from sqmon.health.prometheus import PrometheusExporter


def run(settings: Settings, *, doubts: Sequence[Outcome] = ()) -> None:
    """Check, then poll until SIGTERM or SIGINT; `doubts` are outcomes of what was looked at before.

    Raises SqmonError before anything was written when the password, the metrics file or the directory can't be used, and after the events
    have said why when a check fails.
    """
    settings.connection.password.read()
    file = MetricsFile(settings.metrics_file, settings.query_timeout) if settings.metrics_file is not None else None
    metrics = metrics_file.defaults(settings.query_timeout) if file is None else file.read()
    clock = SystemClock()
    streams = streams_of(settings.output)
    share_with_group()
    with _Stoppable(), streams.reserved() as lock:
        notifier = SystemdNotifier(os.environ)
        exporter = _exporter(settings)
        health = Publisher(streams.directory, notifier, exporter, clock=clock, cluster=settings.cluster)
        listener = exporter.on_event if exporter else None
        before = look_back(streams.newest_first(STREAM), [metric.name for metric in metrics], host_booted_ns=booted_ns(clock))
        ran = last_runs(streams.newest_first(STREAM), metrics, now_ns=clock.time_ns())
        sealer = Sealer(streams.directory, clock=clock) if streams.directory is not None else None
        events = EventStream(streams, new_run_id(clock.time_ns()), clock=clock, sealer=sealer, listener=listener)
        events.write("info", "start", **_about(settings, streams, metrics))
        _pass(doubts, events, notifier)
        if before.unknown:
            events.write("warning", "check", check="earlier_polls", verdict="warning", text=_unknown(before))
        outcomes = [startup_checks.check_metrics(settings.metrics_file, metrics)]
        selector = selectors.DefaultSelector()
        forkserver = Forkserver(selector, clock=clock, on_lost=lambda reason: events.write("error", "forkserver_exit", reason=reason))
        with contextlib.closing(forkserver):
            try:
                _pass(outcomes, events, notifier)
                _pass(
                    startup_checks.check_outside(settings.outside, output=settings.output, forkserver=forkserver, clock=clock),
                    events,
                    notifier,
                )
            except (SqmonError, KeyboardInterrupt) as error:
                events.write("info", "stop", reason=str(error) or "stopped during the start-up checks")
                events.close()
                raise
            journal = Journal(events, before.absences, clock=clock, last_runs=ran)
            sweeper = lifetimes = None
            if streams.segments is not None:
                if settings.lifetimes:
                    lifetimes = LifetimesChild(streams.segments, journal, forkserver=forkserver, selector=selector, clock=clock)
                archivist = Archivist(streams.segments.log_dir, events, forkserver=forkserver, selector=selector, clock=clock)
                sweeper = Sweeper(streams.segments, settings.retention, events, archivist, clock=clock)
            directory = LogDirectory(lock, sweeper, events)
            if sealer is not None:
                sealer.start()
            Supervisor(
                settings,
                metrics,
                events,
                journal,
                file=file,
                forkserver=forkserver,
                selector=selector,
                clock=clock,
                health=health,
                directory=directory,
                lifetimes=lifetimes,
                notifier=notifier,
            ).run()
        if exporter is not None:
            exporter.close()
        if directory.ousted:
            raise SqmonError(directory.ousted)


_CHECKS_SECONDS = 90.0  # from one retry to the next, or through the checks that follow: twice 30 s at most


def _unknown(before: LookBack) -> str:
    read = f"the newest {LOOK_BACK_BYTES >> 20} MiB of events, back to {before.read_back_to or '(none)'},"
    return f"{', '.join(before.unknown)}: {read} tell of no poll, so no gap event will say since when nothing was seen"


def _pass(outcomes: Iterable[Outcome], events: EventStream, notifier: SystemdNotifier) -> None:
    """Write an event per outcome; raise SqmonError for the first that failed."""
    levels = {"passed": "info", "failed": "error"}
    for outcome in outcomes:
        if outcome.verdict == "retry":
            notifier.starting(_CHECKS_SECONDS)
        events.write(
            levels.get(outcome.verdict, "warning"),
            "check",
            check=outcome.name,
            verdict=outcome.verdict,
            text=outcome.text,
        )
        if outcome.verdict == "failed":
            raise SqmonError(f"{outcome.name}: {outcome.text}")


def _exporter(settings: Settings) -> Optional[PrometheusExporter]:
    if settings.metrics_port is None:
        return None
    from sqmon.health.prometheus import PrometheusExporter  # noqa: PLC0415 - see publisher

    return PrometheusExporter(settings.metrics_address, settings.metrics_port)


def _about(settings: Settings, streams: Streams, metrics: list[Metric]) -> dict[str, object]:
    to = settings.connection
    return {
        "version": __version__,
        "pid": os.getpid(),
        "host": to.host,
        "port": to.port,
        "service": to.service,
        "cluster": settings.cluster or None,
        "log": str(streams.place),
        "metrics_file": str(settings.metrics_file) if settings.metrics_file else None,
        "metrics": len(metrics),
        "sql": settings.sql,
    }


class _Stoppable:
    """Until the supervisor takes over, SIGTERM does what Ctrl-C does, and SIGHUP nothing: the metrics file is read again after the checks.

    SIGHUP is ignored rather than caught, since the forkserver inherits that: before it has handlers of its own, the signal would end it.
    """

    def __enter__(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _interrupt)

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(_: int, __: Optional[FrameType]) -> None:
    raise KeyboardInterrupt
