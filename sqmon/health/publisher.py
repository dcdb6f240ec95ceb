"""How the service is, told to those who ask: `status.json` for `sqmon status`, signs of life for systemd, gauges for Prometheus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from sqmon import __version__
from sqmon.clock import Clock, utc_stamp
from sqmon.health.status_file import MetricStatus, Status, StatusFile
from sqmon.health.systemd import SystemdNotifier

if TYPE_CHECKING:
    # 13 MB that only those pay for who asked for it with --metrics_port.
    from sqmon.health.prometheus import PrometheusExporter


class Publisher:
    """The places where the supervisor's loop shows itself, at least once a second."""

    def __init__(
        self, directory: Optional[Path], notifier: SystemdNotifier, exporter: Optional[PrometheusExporter], *, clock: Clock
    ) -> None:
        self._file = StatusFile(directory) if directory is not None else None
        self._notifier = notifier
        self._exporter = exporter
        self._clock = clock
        self._started = utc_stamp(clock.time_ns())
        self._generation = 0

    def tell(self, metrics: list[MetricStatus], problems: list[str], *, stopped: bool = False) -> None:
        """Tell how every metric is, and what is wrong with the service itself."""
        well = sum(metric.healthy for metric in metrics)
        self._notifier.alive(self._clock.monotonic(), f"{well} of {len(metrics)} metrics are well")
        if self._exporter is not None:
            self._exporter.on_status(metrics)
        if self._file is None:
            return
        self._generation += 1
        self._file.write(
            Status(
                generation=self._generation,
                version=__version__,
                pid=os.getpid(),
                started=self._started,
                updated_ns=self._clock.time_ns(),
                stopped=stopped,
                problems=problems,
                metrics=metrics,
                end=self._generation,
            )
        )
