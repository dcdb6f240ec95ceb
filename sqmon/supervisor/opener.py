"""The opening and closing of clusters beside the loop, since both may wait for a disk."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Callable, Iterator, NamedTuple, Optional, Sequence, Union

from sqmon.clock import Clock
from sqmon.config.settings import Configuration
from sqmon.errors import ConfigError, SqmonError, reason_of
from sqmon.ipc.check import Outcome
from sqmon.side_thread import Crew, SideThread
from sqmon.storage.directory_lock import DirectoryLock
from sqmon.storage.streams import streams_of
from sqmon.supervisor.cluster import Cluster
from sqmon.supervisor.opening import Crews, Opened, opened
from sqmon.supervisor.startup_checks import standing_pause

if TYPE_CHECKING:
    from sqmon.health.prometheus import PrometheusExporter

_MOST = 8
"""How many clusters are opened or closed at the same time."""


class Done(NamedTuple):
    """What has become of one cluster."""

    name: str
    opened: Union[Opened, str, None]
    """What was opened or, in words, why it could not be; None for one that was closed."""


class Opener:
    """Opens and closes clusters in side threads; the loop asks from time to time what has become of that."""

    def __init__(self, doubts: Sequence[Outcome], *, clock: Clock, crews: Crews, exporter: Optional[PrometheusExporter]) -> None:
        """`doubts` are written among the first events of each cluster."""
        self._clock = clock
        self._crews = crews
        self._exporter = exporter
        self._doubts = doubts
        self._crew = Crew("opener", most=_MOST)
        self._jobs: dict[str, SideThread[None]] = {}
        self._done: deque[Done] = deque()  # filled by the side threads, emptied by `done`

    def busy(self, name: str) -> bool:
        """Whether the cluster is being opened or closed, or the end of that has not been taken yet."""
        return name in self._jobs

    @property
    def idle(self) -> bool:
        """Whether nothing is being opened or closed."""
        return not self._jobs

    def open(self, configuration: Configuration, lock: Optional[DirectoryLock] = None) -> None:
        """Have a cluster opened; `lock` is that of its directory where it is held already."""
        self._begin(configuration.name, lambda _: self._done.append(Done(configuration.name, self._opened(configuration, lock))))

    def close(self, cluster: Cluster, reason: str, *, removed: bool = False) -> None:
        """Have a cluster closed that was left, for good if it was `removed`."""
        name = cluster.configuration.name

        def close(_: None) -> None:
            cluster.close(reason, removed=removed)
            self._done.append(Done(name, None))

        self._begin(name, close)

    def done(self) -> Iterator[Done]:
        """Yield what has become of each cluster since the last call; never waits."""
        for job in self._jobs.values():
            job.end(0.0)  # raises what went wrong there
        while self._done:
            done = self._done.popleft()
            del self._jobs[done.name]
            yield done

    def wait(self, seconds: float) -> None:
        """Wait until nothing is being opened or closed, `seconds` at most."""
        give_up = time.monotonic() + seconds
        for job in self._jobs.values():
            job.end(max(give_up - time.monotonic(), 0.0))

    def _begin(self, name: str, work: Callable[[None], None]) -> None:
        self._jobs[name] = job = SideThread("opener", work, room=1, crew=self._crew)
        job.offer(None)
        job.end(0.0)  # one item is all that it ever gets

    def _opened(self, configuration: Configuration, lock: Optional[DirectoryLock]) -> Union[Opened, str]:
        try:
            held = lock or streams_of(configuration.settings.output).reserved().__enter__()
        except SqmonError as error:
            return str(error)
        try:
            begun = opened(configuration, held, self._doubts, clock=self._clock, crews=self._crews, exporter=self._exporter)
        except OSError as error:  # a directory in which something else is where a stream belongs, or that can't be read
            if held is not None:
                held.release()
            return f"{error.filename or configuration.settings.output}: {reason_of(error)}"
        pause = None
        with contextlib.suppress(ConfigError):  # the checks tell of a password that can't be read
            pause = standing_pause(configuration.settings.connection, configuration.settings.output, self._clock)
        return begun._replace(pause=pause)
