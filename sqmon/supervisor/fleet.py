"""The clusters of one service: they come and go as their configurations do, and each has its turn."""

from __future__ import annotations

from typing import Callable, Optional, Sequence

from sqmon import logs
from sqmon.config.settings import Configuration
from sqmon.config.sources import Change, Rejected, Source
from sqmon.storage.directory_lock import DirectoryLock
from sqmon.supervisor.cluster import Cluster, Shared
from sqmon.supervisor.opener import Opener
from sqmon.supervisor.opening import Opened

_CHECK_SECONDS = 0.05  # while clusters are being opened or closed
_AGAIN_SECONDS = 10.0  # after which a cluster is opened again whose directory could not be had
_CLOSE_SECONDS = 10.0
_HEARD_AT_ONCE = 16
_BREATH_SECONDS = 0.02  # after so many reports, so that no worker's poll waits for the processor while hundreds are heard
_MOST_NAMED = 5


class Fleet:
    """All clusters that the service watches, and where it is said which these are.

    Whatever becomes of one, its database, its directory or its file, the others keep going as they are.
    """

    def __init__(self, source: Source, opener: Opener, shared: Shared, *, alone: Optional[Cluster] = None) -> None:
        """`alone` is the only cluster of a service that watches no others, and ends with it."""
        self._source = source
        self._opener = opener
        self._shared = shared
        self._alone = alone
        self._clusters = {} if alone is None else {alone.configuration.name: alone}
        self._wanted = {name: cluster.configuration for name, cluster in self._clusters.items()}
        self._closed: dict[str, str] = {}
        """Why clusters that are wanted could not be opened."""
        self._begin_at: dict[str, float] = {}
        """When the checks of a cluster begin, in monotonic seconds; at once for one that is not named."""
        self._open_at: dict[str, float] = {}
        self._moving = False
        self._stopping = False
        self._breath_until = 0.0

    def add(self, configurations: Sequence[Configuration], locks: Sequence[Optional[DirectoryLock]], now: float) -> None:
        """Have clusters opened whose directories are locked, and polled one after the other within the shortest interval."""
        spread = min((metric.interval for each in configurations for metric in each.metrics), default=0.0)
        for number, (configuration, lock) in enumerate(zip(configurations, locks)):
            self._wanted[configuration.name] = configuration
            self._begin_at[configuration.name] = now + spread * number / len(configurations)
            self._opener.open(configuration, lock)

    @property
    def due(self) -> float:
        """When `turn` has something to do, in monotonic seconds."""
        soonest = min((cluster.due for cluster in self._clusters.values()), default=float("inf"))
        if self._breath_until:
            soonest = max(soonest, self._breath_until)
        if not self._opener.idle or self._moving:
            soonest = min(soonest, self._shared.clock.monotonic() + _CHECK_SECONDS)
        return soonest if self._stopping else min(soonest, self._source.due, *self._open_at.values())

    @property
    def settled(self) -> bool:
        """Whether everything that may have changed in the configuration has been looked at."""
        return self._source.settled

    @property
    def running(self) -> bool:
        """Whether a process lives that can be waited for."""
        return any(cluster.running for cluster in self._clusters.values())

    @property
    def ousted(self) -> str:
        """Why the service has to end: another one has the directory of its only cluster. Empty where there may be others."""
        return "" if self._alone is None else self._alone.ousted

    @property
    def summary(self) -> str:
        """In one line that all is well, or what is not."""
        clusters = self._clusters
        if self._alone is not None:
            return self._alone.summary
        unwell = [name for name in self._wanted if name not in clusters or not clusters[name].well]
        named = ", ".join(unwell[:_MOST_NAMED]) + (f" and {len(unwell) - _MOST_NAMED} more" if len(unwell) > _MOST_NAMED else "")
        count = f"{len(self._wanted) - len(unwell)} of {len(self._wanted)} clusters are well"
        return f"{count}, but not {named}" if unwell else count

    def write(self, level: str, event: str, /, **fields: object) -> None:
        """Write an event that concerns all clusters into the stream of each."""
        for cluster in self._clusters.values():
            cluster.events.write(level, event, **fields)

    def watch(self, notice: Callable[[], None], now: float) -> None:
        """Have `notice` called, in another thread, when the configuration may have changed."""
        for cluster in self._clusters.values():
            cluster.begin()
        trouble = self._source.watch(notice)
        if trouble:
            self.write("warning", "check", check="watch_metrics_file", verdict="warning", text=trouble)
        self.touched(now)  # it was read before the start-up checks, which may have taken a while

    def touched(self, now: float) -> None:
        """Take note that the configuration may have changed."""
        self._source.touched(now)

    def turn(self, now: float) -> None:
        """Do for every cluster what is due."""
        self._come_and_go(now)
        self._breath_until, heard = 0.0, 0
        for name, cluster in [*self._clusters.items()]:
            if cluster.due > now:
                continue
            heard += cluster.turn(now)
            if heard >= _HEARD_AT_ONCE:
                self._clusters[name] = self._clusters.pop(name)
                self._breath_until = now + _BREATH_SECONDS
                break

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
        self._opener.wait(_CLOSE_SECONDS)
        for done in self._opener.done():
            if isinstance(done.opened, Opened):
                self._clusters[done.name] = Cluster(done.opened, self._shared)
        for cluster in self._clusters.values():
            cluster.leave()
            self._opener.close(cluster, reason)
        self._opener.wait(_CLOSE_SECONDS)

    def _come_and_go(self, now: float) -> None:
        if not self._stopping:
            for change in self._source.changes(now):
                self._take(change, now)
        for done in self._opener.done():
            if isinstance(done.opened, Opened):
                cluster = Cluster(done.opened, self._shared, begin_at=self._begin_at.pop(done.name, now))
                self._clusters[done.name] = cluster
                cluster.begin()
                self._closed.pop(done.name, None)
                if self._stopping:
                    cluster.stop(now)
            elif done.opened is not None:
                self._not_opened(done.name, done.opened, now)
        self._moving = False
        for name in () if self._stopping else {**self._wanted, **self._clusters}:
            if not self._opener.busy(name):
                self._reconcile(name, now)

    def _reconcile(self, name: str, now: float) -> None:
        """Do the next step from what there is of a cluster to what is wanted."""
        cluster, wanted = self._clusters.get(name), self._wanted.get(name)
        if cluster is None:
            if wanted is not None and self._open_at.get(name, 0.0) <= now:
                self._open_at.pop(name, None)
                self._opener.open(wanted)
            return
        if wanted is not None and _like(wanted, cluster.configuration) and (not cluster.ousted or self._alone):
            if wanted.metrics != cluster.configuration.metrics:
                cluster.take(wanted, now)
            return
        self._moving = True
        cluster.stop(now)
        if not cluster.running:
            reason = cluster.ousted or ("the cluster was removed" if wanted is None else "the cluster's file has changed")
            del self._clusters[name]
            if cluster.ousted:
                self._not_opened(name, cluster.ousted, now)
            cluster.leave()
            self._opener.close(cluster, reason, removed=wanted is None)

    def _take(self, change: Change, now: float) -> None:
        cluster = self._clusters.get(change.name)
        if isinstance(change, Configuration):
            self._wanted[change.name] = change
            if cluster is not None and _like(change, cluster.configuration):
                cluster.take(change, now)
        elif isinstance(change, Rejected):
            if cluster is not None:
                cluster.reject(str(change.file), change.problems)
            elif change.hollow is not None and (change.name not in self._wanted or self._wanted[change.name].problems):
                self._wanted[change.name] = change.hollow
            else:
                logs.get_logger().error("config_rejected", file=str(change.file), problems="; ".join(change.problems))
        else:
            self._wanted.pop(change.name, None)
            self._closed.pop(change.name, None)
            self._open_at.pop(change.name, None)

    def _not_opened(self, name: str, reason: str, now: float) -> None:
        if self._closed.get(name) != reason:
            self._closed[name] = reason
            logs.get_logger().error("cluster not watched", cluster=name, reason=reason)
        self._open_at[name] = now + _AGAIN_SECONDS


def _like(one: Configuration, other: Configuration) -> bool:
    """Whether a cluster can go from one to the other without being opened again."""
    return one.settings == other.settings and bool(one.problems) == bool(other.problems)
