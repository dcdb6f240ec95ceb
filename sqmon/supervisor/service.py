"""The service from start to stop: locks the directory, runs the checks, and lets the loop take over."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
from types import FrameType
from typing import TYPE_CHECKING, Iterable, Optional, Sequence

from sqmon.clock import Clock, SystemClock
from sqmon.config.clusters_directory import ClustersDirectory
from sqmon.config.settings import Settings
from sqmon.config.sources import OneCluster, Source
from sqmon.errors import SqmonError
from sqmon.health.systemd import SystemdNotifier
from sqmon.ipc.check import Outcome
from sqmon.storage.permissions import share_with_group
from sqmon.storage.streams import streams_of
from sqmon.supervisor import startup_checks
from sqmon.supervisor.archivist import Places
from sqmon.supervisor.cluster import Cluster, Shared
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.fleet import Fleet
from sqmon.supervisor.forkserver import Forkserver
from sqmon.supervisor.loop import Supervisor
from sqmon.supervisor.opener import Opener
from sqmon.supervisor.opening import Crews, opened, write_outcome

if TYPE_CHECKING:
    from sqmon.health.prometheus import PrometheusExporter

_CHECKS_SECONDS = 90.0  # from one retry to the next, or through the checks that follow: twice 30 s at most


def run(settings: Settings, *, doubts: Sequence[Outcome] = ()) -> None:
    """Check, then poll until SIGTERM or SIGINT; `doubts` are outcomes of what was looked at before.

    Raises SqmonError before anything was written when a password, a file or a directory can't be used, and after the events have said why
    when a check of the only cluster fails. One of several clusters never keeps the others from being polled.
    """
    directory = settings.clusters_dir
    source: Source = OneCluster(settings) if directory is None else ClustersDirectory(directory, settings)
    configurations = source.read()
    clock, selector, notifier = SystemClock(), selectors.DefaultSelector(), SystemdNotifier(os.environ)
    share_with_group()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_Stoppable())
        locks = [stack.enter_context(streams_of(each.settings.output).reserved()) for each in configurations]
        exporter = _exporter(settings)
        if exporter is not None:
            stack.callback(exporter.close)
        forkserver = Forkserver(selector, clock=clock, on_lost=lambda reason: fleet.write("error", "forkserver_exit", reason=reason))
        stack.callback(forkserver.close)
        shared = Shared(forkserver, selector, clock, Places(_ARCHIVERS))
        crews = Crews(1 if directory is None else _THREADS)
        opener = Opener(doubts, clock=clock, crews=crews, exporter=exporter)
        if directory is None:
            begun = opened(configurations[0], locks[0], doubts, clock=clock, crews=crews, exporter=exporter)
            fleet = Fleet(source, opener, shared, alone=Cluster(begun, shared))
            _pass_checks(settings, begun.events, notifier, forkserver=forkserver, clock=clock)
        else:
            _allow_descriptors()
            fleet = Fleet(source, opener, shared)
            fleet.add(configurations, locks, clock.monotonic())
        Supervisor(fleet, forkserver=forkserver, selector=selector, clock=clock, notifier=notifier).run()
        if fleet.ousted:
            raise SqmonError(fleet.ousted)


_ARCHIVERS = 2
_THREADS = 4


def _allow_descriptors() -> None:
    """Allow this process as many descriptors as it may have: two or three for each worker of each cluster."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _pass_checks(settings: Settings, events: EventStream, notifier: SystemdNotifier, *, forkserver: Forkserver, clock: Clock) -> None:
    """Run the start-up checks of the only cluster; raises SqmonError, or KeyboardInterrupt for a signal, after the last event."""
    try:
        _pass(startup_checks.check_outside(settings.outside, output=settings.output, forkserver=forkserver, clock=clock), events, notifier)
    except (SqmonError, KeyboardInterrupt) as error:
        events.write("info", "stop", reason=str(error) or "stopped during the start-up checks")
        events.close()
        raise


def _pass(outcomes: Iterable[Outcome], events: EventStream, notifier: SystemdNotifier) -> None:
    """Write an event per outcome; raise SqmonError for the first that failed."""
    for outcome in outcomes:
        if outcome.verdict == "retry":
            notifier.starting(_CHECKS_SECONDS)
        write_outcome(events, outcome)
        if outcome.verdict == "failed":
            raise SqmonError(f"{outcome.name}: {outcome.text}")


def _exporter(settings: Settings) -> Optional[PrometheusExporter]:
    if settings.metrics_port is None:
        return None
    from sqmon.health.prometheus import PrometheusExporter  # noqa: PLC0415 - see publisher

    return PrometheusExporter(settings.metrics_address, settings.metrics_port, clusters=bool(settings.cluster or settings.clusters_dir))


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
