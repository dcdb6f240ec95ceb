"""The opening of a cluster: its directory is locked, what earlier services left there is looked up, and its events begin."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Optional, Sequence

from sqmon import __version__
from sqmon.clock import Clock
from sqmon.config.settings import Configuration
from sqmon.health.publisher import Publisher
from sqmon.ipc.check import Outcome
from sqmon.ipc.login_pause import Standing
from sqmon.records.encoder import new_run_id
from sqmon.side_thread import Crew
from sqmon.storage.directory_lock import DirectoryLock
from sqmon.storage.streams import Streams, streams_of
from sqmon.supervisor.absence import LOOK_BACK_BYTES, LookBack, booted_ns, look_back
from sqmon.supervisor.event_stream import STREAM, EventStream
from sqmon.supervisor.journal import Journal
from sqmon.supervisor.sealer import Sealer
from sqmon.supervisor.startup_checks import check_metrics
from sqmon.supervisor.state_changes import last_runs

if TYPE_CHECKING:
    # 13 MB that a service without --metrics_port does not pay for.
    from sqmon.health.prometheus import PrometheusExporter


class Crews:
    """The threads that all clusters share: one crew for each kind of work that may block."""

    def __init__(self, most: int) -> None:
        """`most` is the number of threads of a crew, of which one serves everybody as long as no disk holds it."""
        self.events = Crew("events", most=most)
        self.seals = Crew("sealer", most=most)
        self.sweeps = Crew("sweeper", most=most)
        self.locks = Crew("directory", most=most)
        self.status = Crew("status", most=most)


class Opened(NamedTuple):
    """A cluster whose events have begun, and for which nothing runs yet."""

    configuration: Configuration
    streams: Streams
    lock: Optional[DirectoryLock]
    events: EventStream
    journal: Journal
    sealer: Optional[Sealer]
    health: Publisher
    crews: Crews
    pause: Optional[Standing] = None
    """The pause of all logins that an earlier service has left."""


def opened(
    configuration: Configuration,
    lock: Optional[DirectoryLock],
    doubts: Sequence[Outcome] = (),
    *,
    clock: Clock,
    crews: Crews,
    exporter: Optional[PrometheusExporter],
) -> Opened:
    """Look up what earlier services left, and write the first events; reads as much of theirs as that takes. `lock` is held already.

    `doubts` are outcomes of what was looked at before.
    """
    settings, metrics = configuration.settings, configuration.metrics
    streams = streams_of(settings.output)
    gauges = exporter.of(settings.cluster) if exporter is not None else None
    before = look_back(streams.newest_first(STREAM), [metric.name for metric in metrics], host_booted_ns=booted_ns(clock))
    ran = last_runs(streams.newest_first(STREAM), metrics, now_ns=clock.time_ns())
    sealer = Sealer(streams.directory, clock=clock, crew=crews.seals) if streams.directory is not None else None
    events = EventStream(
        streams,
        new_run_id(clock.time_ns()),
        clock=clock,
        sealer=sealer,
        listener=gauges.on_event if gauges is not None else None,
        crew=crews.events,
    )
    events.write("info", "start", **_about(configuration, streams))
    for outcome in doubts:
        write_outcome(events, outcome)
    if before.unknown:
        write_outcome(events, Outcome("earlier_polls", "warning", _unknown(before)))
    if not configuration.problems:
        write_outcome(events, check_metrics(configuration.file, metrics))
    return Opened(
        configuration,
        streams,
        lock,
        events,
        Journal(events, before.absences, clock=clock, last_runs=ran),
        sealer,
        Publisher(streams.directory, gauges, clock=clock, cluster=settings.cluster, retention=settings.retention, crew=crews.status),
        crews,
    )


_LEVELS = {"passed": "info", "failed": "error"}


def write_outcome(events: EventStream, outcome: Outcome) -> None:
    """Write the event of a check."""
    level = _LEVELS.get(outcome.verdict, "warning")
    events.write(level, "check", check=outcome.name, verdict=outcome.verdict, text=outcome.text)


def _unknown(before: LookBack) -> str:
    read = f"the newest {LOOK_BACK_BYTES >> 20} MiB of events, back to {before.read_back_to or '(none)'},"
    return f"{', '.join(before.unknown)}: {read} tell of no poll, so no gap event will say since when nothing was seen"


def _about(configuration: Configuration, streams: Streams) -> dict[str, object]:
    settings = configuration.settings
    to = settings.connection
    return {
        "version": __version__,
        "pid": os.getpid(),
        "host": to.host,
        "port": to.port,
        "service": to.service,
        "log": str(streams.place),
        "metrics_file": str(configuration.file) if configuration.file else None,
        "metrics": len(configuration.metrics),
        "sql": settings.sql,
    }
