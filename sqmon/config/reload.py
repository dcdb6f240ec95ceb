"""The metrics file of a running service: noticed when it changes, read whole, believed only when it is valid."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from sqmon.config.metrics_file import read
from sqmon.config.settings import Metric
from sqmon.errors import ConfigError

_QUIET_SECONDS = 0.25
_PATIENCE_SECONDS = 2.0


class MetricsFile:
    """What the file said last, and whether it is time to look again.

    A storm of saves costs one reading per quarter of a second, the last one included. A file that is wrong is called wrong when it has
    been left alone for a moment, since it may have been half written, or after two seconds.
    """

    def __init__(self, path: Path, query_timeout: Optional[float]) -> None:
        self.path = path
        self._query_timeout = query_timeout
        self._content = _content(path)
        self._wrong_since: Optional[float] = None
        self._left_alone = True
        self._look_at: Optional[float] = None
        self._looked_at = float("-inf")

    @property
    def due(self) -> float:
        """When `reread` is worth calling, in monotonic seconds."""
        return float("inf") if self._look_at is None else self._look_at

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
        if content == self._content:
            self._wrong_since = None
            return None
        try:
            metrics = read(self.path, self._query_timeout)
        except ConfigError:
            if self._wrong_since is None:
                self._wrong_since = now
            if not left_alone and now - self._wrong_since < _PATIENCE_SECONDS:
                self._look_at = now + _QUIET_SECONDS
                return None
            self._content, self._wrong_since = content, None
            raise
        self._content, self._wrong_since = content, None
        return metrics


def _content(path: Path) -> Optional[bytes]:
    try:
        return path.read_bytes()
    except OSError:
        return None
