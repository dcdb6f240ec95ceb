"""The service from start to stop: locks the directory, runs the checks, and lets the loop take over."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from types import FrameType
from typing import TYPE_CHECKING, Iterable, Optional, Sequence

from sqmon.clock import SystemClock
from sqmon.config.settings import Settings
from sqmon.config.sources import OneCluster
from sqmon.errors import SqmonError
from sqmon.health.systemd import SystemdNotifier
from sqmon.ipc.check import Outcome
from sqmon.storage.permissions import share_with_group
from sqmon.storage.streams import streams_of
from sqmon.supervisor import startup_checks
from sqmon.supervisor.cluster import Cluster, Shared
from sqmon.supervisor.event_stream import EventStream
from sqmon.supervisor.fleet import Fleet
from sqmon.supervisor.forkserver import Forkserver
from sqmon.supervisor.loop import Supervisor
from sqmon.supervisor.opening import Crews, opened, write_outcome

if TYPE_CHECKING:
    from sqmon.health.prometheus import PrometheusExporter

_CHECKS_SECONDS = 90.0  # from one retry to the next, or through the checks that follow: twice 30 s at most


def run(settings: Settings, *, doubts: Sequence[Outcome] = ()) -> None:
    """Check, then poll until SIGTERM or SIGINT; `doubts` are outcomes of what was looked at before.

    Raises SqmonError before anything was written when the password, the metrics file or the directory can't be used, and after the events
    have said why when a check fails.
    """
    source = OneCluster(settings)
    (configuration,) = source.read()
    clock, selector, notifier = SystemClock(), selectors.DefaultSelector(), SystemdNotifier(os.environ)
    share_with_group()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_Stoppable())
        lock = stack.enter_context(streams_of(settings.output).reserved())
        exporter = _exporter(settings)
        if exporter is not None:
            stack.callback(exporter.close)
        begun = opened(configuration, lock, doubts, clock=clock, crews=Crews(1), exporter=exporter)
        events = begun.events
        forkserver = Forkserver(selector, clock=clock, on_lost=lambda reason: events.write("error", "forkserver_exit", reason=reason))
        stack.callback(forkserver.close)
        try:
            outside = startup_checks.check_outside(settings.outside, output=settings.output, forkserver=forkserver, clock=clock)
            _pass(outside, events, notifier)
        except (SqmonError, KeyboardInterrupt) as error:
            events.write("info", "stop", reason=str(error) or "stopped during the start-up checks")
            events.close()
            raise
        fleet = Fleet([Cluster(begun, Shared(forkserver, selector, clock))], source)
        Supervisor(fleet, forkserver=forkserver, selector=selector, clock=clock, notifier=notifier).run()
        if fleet.ousted:
            raise SqmonError(fleet.ousted)


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

    return PrometheusExporter(settings.metrics_address, settings.metrics_port, clusters=bool(settings.cluster))


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
