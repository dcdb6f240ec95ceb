"""The publisher of a cluster's health: `status.json` for `sqmon status`, gauges for Prometheus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from sqmon import __version__, logs
from sqmon.clock import Clock, utc_stamp
from sqmon.config.settings import Retention
from sqmon.health.status_file import AgentStatus, LifetimesStatus, MetricStatus, ProofStatus, RetentionStatus, Status, StatusFile
from sqmon.side_thread import Crew, SideThread

if TYPE_CHECKING:
    # 13 MB that a service without --metrics_port does not pay for.
    from sqmon.health.prometheus import ClusterGauges

_CLOSE_SECONDS = 1.0


class Publisher:
    """Tells everybody who watches a cluster how it is; the supervisor's loop calls it once a second.

    `status.json` is written by a side thread, because its disk may hang; the newest status is the one that is written.
    """

    def __init__(
        self,
        directory: Optional[Path],
        gauges: Optional[ClusterGauges],
        *,
        clock: Clock,
        cluster: str = "",
        retention: Optional[Retention] = None,
        crew: Optional[Crew] = None,
    ) -> None:
        """Write `status.json` into `directory`; None is a single file, which has no status."""
        self._cluster = cluster
        self._retention = _retention_status(retention) if retention is not None else None
        self._file = StatusFile(directory) if directory is not None else None
        self._gauges = gauges
        self._clock = clock
        self._started = utc_stamp(clock.time_ns())
        self._generation = 0
        self._trouble = ""
        self._newest: Optional[Status] = None
        self._thread: SideThread[StatusFile] = SideThread("status", self._write, room=1, crew=crew)

    def tell(
        self,
        metrics: list[MetricStatus],
        problems: list[str],
        *,
        agent: Optional[AgentStatus] = None,
        lifetimes: Optional[LifetimesStatus] = None,
        proof: Optional[ProofStatus] = None,
        stopped: bool = False,
        removed: bool = False,
    ) -> None:
        """Publish how every metric is and what is wrong with the service itself; never waits, except for the last status, `stopped`."""
        if self._gauges is not None:
            self._gauges.on_status(metrics, proof)
            if removed:
                self._gauges.forget()
        if self._file is None:
            return
        self._generation += 1
        self._newest = Status(
            generation=self._generation,
            version=__version__,
            pid=os.getpid(),
            cluster=self._cluster,
            started=self._started,
            updated_ns=self._clock.time_ns(),
            stopped=stopped,
            removed=removed,
            problems=problems,
            agent=agent,
            retention=self._retention,
            lifetimes=lifetimes,
            proof=proof,
            metrics=metrics,
            end=self._generation,
        )
        self._thread.offer(self._file)
        if stopped:
            self._thread.end(_CLOSE_SECONDS)

    def _write(self, file: StatusFile) -> None:
        newest, self._newest = self._newest, None
        if newest is not None:
            file.write(newest)
            if file.trouble != self._trouble:
                self._trouble = file.trouble
                if file.trouble:
                    logs.get_logger().warning("status not written", reason=file.trouble)


def _retention_status(retention: Retention) -> RetentionStatus:
    return RetentionStatus(
        seconds=retention.seconds, bytes=retention.bytes, min_free_bytes=retention.min_free_bytes, compress=retention.compress
    )
