"""The reloading of the metrics file: it is read again when it may have changed, and takes effect only if it is valid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional, Union

from sqmon.config import metrics_file
from sqmon.config.settings import Metric
from sqmon.errors import ConfigError

if TYPE_CHECKING:
    # A megabyte that a service without a metrics file does not pay for.
    from sqmon.config.file_watch import Watcher

_QUIET_SECONDS = 0.25
_PATIENCE_SECONDS = 2.0


class MetricsFile:
    """What the file said last, and whether it is time to look again.

    A storm of saves costs one reading per quarter of a second, the last one included. Since a file may be half written, it is called
    wrong only when it has been left alone for a moment, or after two seconds.
    """

    def __init__(self, path: Path, query_timeout: Optional[float]) -> None:
        self.path = path
        self._query_timeout = query_timeout
        self._known: Union[bytes, str, None] = None
        self._wrong_since: Optional[float] = None
        self._left_alone = True
        self._look_at: Optional[float] = None
        self._looked_at = float("-inf")
        self._watcher: Optional[Watcher] = None

    @property
    def due(self) -> float:
        """When `reread` is worth calling, in monotonic seconds."""
        return float("inf") if self._look_at is None else self._look_at

    def read(self) -> list[Metric]:
        """Return the metrics as the file has them now; raises ConfigError. What `reread` compares with is what was read here."""
        self._known = _content(self.path)
        return self._parsed(self._known)

    def watch(self, notice: Callable[[], None]) -> str:
        """Have `notice` called, in another thread, when the file may have changed; return "" or why that takes up to a second."""
        from sqmon.config.file_watch import Watcher  # noqa: PLC0415 - see above

        self._watcher = Watcher(self.path, notice)
        trouble = self._watcher.start()
        return trouble and f"{self.path}: is looked at once a second, since the kernel does not tell of changes: {trouble}"

    def unwatch(self) -> None:
        """End what `watch` began."""
        if self._watcher is not None:
            self._watcher.stop()

    def touched(self, now: float) -> None:
        """Take note that something happened to the file."""
        self._left_alone = False
        if self._look_at is None:
            self._look_at = max(now, self._looked_at + _QUIET_SECONDS)

    def reread(self, now: float) -> Optional[list[Metric]]:
        """Return the metrics of a file that has changed, None for one that has not; raises ConfigError for one that stays wrong."""
        left_alone, self._left_alone = self._left_alone, True
        self._look_at, self._looked_at = None, now
        content = _content(self.path)
        if content == self._known:
            self._wrong_since = None
            return None
        try:
            metrics = self._parsed(content)
        except ConfigError:
            if self._wrong_since is None:
                self._wrong_since = now
            if not left_alone and now - self._wrong_since < _PATIENCE_SECONDS:
                self._look_at = now + _QUIET_SECONDS
                return None
            self._known, self._wrong_since = content, None
            raise
        self._known, self._wrong_since = content, None
        return metrics

    def _parsed(self, content: Union[bytes, str]) -> list[Metric]:
        if isinstance(content, str):
            raise ConfigError([content])
        return metrics_file.parse(content, str(self.path), self._query_timeout)


def _content(path: Path) -> Union[bytes, str]:
    """Return the bytes of the file, or why there are none."""
    try:
        return metrics_file.content(path)
    except ConfigError as error:
        return str(error)
