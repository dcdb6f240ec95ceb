"""The clusters of one service, and the turn of each."""

from __future__ import annotations

from typing import Callable, Sequence

from sqmon.config.settings import Configuration
from sqmon.config.sources import Change, Rejected, Source
from sqmon.supervisor.cluster import Cluster


class Fleet:
    """All clusters that the service watches, and where it is said which these are."""

    def __init__(self, clusters: Sequence[Cluster], source: Source) -> None:
        self._clusters = {cluster.configuration.name: cluster for cluster in clusters}
        self._source = source
        self._stopping = False

    @property
    def due(self) -> float:
        """When `turn` has something to do, in monotonic seconds."""
        source = float("inf") if self._stopping else self._source.due
        return min(source, *(cluster.due for cluster in self._clusters.values()))

    @property
    def has_read(self) -> bool:
        """Whether everything that may have changed in the configuration has been looked at."""
        return self._source.due == float("inf")

    @property
    def ousted(self) -> str:
        """Why the service has to end: another one has its directory. Empty until then."""
        return next(filter(None, (cluster.ousted for cluster in self._clusters.values())), "")

    @property
    def running(self) -> bool:
        """Whether a process lives that can be waited for."""
        return any(cluster.running for cluster in self._clusters.values())

    @property
    def summary(self) -> str:
        """In one line that all is well, or what is not."""
        return "; ".join(cluster.summary for cluster in self._clusters.values())

    def watch(self, notice: Callable[[], None], now: float) -> None:
        """Have `notice` called, in another thread, when the configuration may have changed."""
        trouble = self._source.watch(notice)
        for cluster in self._clusters.values() if trouble else ():
            cluster.events.write("warning", "check", check="watch_metrics_file", verdict="warning", text=trouble)
        self.touched(now)  # it was read before the start-up checks, which may have taken a while

    def touched(self, now: float) -> None:
        """Take note that the configuration may have changed."""
        self._source.touched(now)

    def turn(self, now: float) -> None:
        """Do for every cluster what is due."""
        if now >= self._source.due and not self._stopping:
            for change in self._source.changes(now):
                self._take(change, now)
        for cluster in self._clusters.values():
            cluster.turn(now)

    def forgive(self, seconds: float) -> None:
        """Leave a time out of account in which this process was asleep and heard nobody."""
        for cluster in self._clusters.values():
            cluster.forgive(seconds)

    def stop(self, now: float) -> None:
        """Ask every process to end, and start no more."""
        self._stopping = True
        for cluster in self._clusters.values():
            cluster.stop(now)

    def finish(self, reason: str) -> None:
        """Let go of everything, and say why; whatever a disk does, that takes some seconds at most."""
        self._source.unwatch()
        for cluster in self._clusters.values():
            cluster.leave()
            cluster.close(reason)

    def _take(self, change: Change, now: float) -> None:
        cluster = self._clusters[change.name]
        if isinstance(change, Configuration):
            cluster.take(change, now)
        elif isinstance(change, Rejected):
            cluster.reject(str(change.file), change.problems)
