"""The sources of configuration: which clusters are to be watched, and what has changed about that."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, NamedTuple, Optional, Protocol, Union

from sqmon.config import metrics_file
from sqmon.config.reload import MetricsFile
from sqmon.config.settings import Configuration, Settings
from sqmon.errors import ConfigError


class Rejected(NamedTuple):
    """What is said of a cluster is wrong, so the cluster stays as it is."""

    name: str
    file: Path
    problems: list[str]
    hollow: Optional[Configuration] = None
    """What to say it in the name of where the cluster is not watched yet: nothing is polled there."""


class Removed(NamedTuple):
    """A cluster is not to be watched any more."""

    name: str


Change = Union[Configuration, Rejected, Removed]
"""A configuration is that of a cluster that is new, has changed, or is right again."""


class Source(Protocol):
    """Where configurations come from. Nothing of it waits, except for `read`."""

    @property
    def due(self) -> float:
        """When `changes` is worth calling, in monotonic seconds; infinity while nothing is known to have happened."""
        ...

    @property
    def settled(self) -> bool:
        """Whether all that may have changed has been looked at."""
        ...

    def read(self) -> list[Configuration]:
        """Return the configurations as they are at the start; raises ConfigError with every problem."""
        ...

    def watch(self, notice: Callable[[], None]) -> str:
        """Have `notice` called, in another thread, when something may have changed; return "" or why that takes up to a second."""
        ...

    def unwatch(self) -> None:
        """End what `watch` began."""
        ...

    def touched(self, now: float) -> None:
        """Take note that something may have changed."""
        ...

    def changes(self, now: float) -> list[Change]:
        """Return what has changed since the last call."""
        ...


class OneCluster:
    """One cluster, whose settings stay as they are, and whose metrics file may change."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        path = settings.metrics_file
        self._file = None if path is None else MetricsFile(path, settings.query_timeout)

    @property
    def due(self) -> float:
        """See Source."""
        return float("inf") if self._file is None else self._file.due

    @property
    def settled(self) -> bool:
        """See Source."""
        return self.due == float("inf")

    def read(self) -> list[Configuration]:
        """See Source."""
        self._settings.connection.password.read()
        if self._file is None:
            return [Configuration(self._settings, metrics_file.defaults(self._settings.query_timeout), None)]
        return [Configuration(self._settings, self._file.read(), self._file.path)]

    def watch(self, notice: Callable[[], None]) -> str:
        """See Source."""
        return "" if self._file is None else self._file.watch(notice)

    def unwatch(self) -> None:
        """See Source."""
        if self._file is not None:
            self._file.unwatch()

    def touched(self, now: float) -> None:
        """See Source."""
        if self._file is not None:
            self._file.touched(now)

    def changes(self, now: float) -> list[Change]:
        """See Source."""
        if self._file is None or now < self._file.due:
            return []
        try:
            metrics = self._file.reread(now)
        except ConfigError as error:
            return [Rejected(self._settings.cluster, self._file.path, error.problems)]
        return [] if metrics is None else [Configuration(self._settings, metrics, self._file.path)]
