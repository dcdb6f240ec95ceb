"""The metrics file of a running service: noticed when it changes, read whole, believed only when it is valid."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Callable, Optional

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from sqmon.config import Metric
from sqmon.errors import ConfigError
from sqmon.metrics_file import read

_QUIET_SECONDS = 0.25
_PATIENCE_SECONDS = 2.0
# Not "opened" and "closed_no_write", which our own reading causes, and not "modified", which comes before a file is whole.
_CHANGES = {"closed", "created", "deleted", "moved"}
_KUBERNETES_LINK = "..data"


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


class Watcher:
    """Calls `notice`, from a thread of its own, when something happens in the directories where the file and what it links to live.

    Directories, because editors save by renaming, and Kubernetes swaps a link beside the file.
    """

    def __init__(self, path: Path, notice: Callable[[], None]) -> None:
        self._observer = Observer()
        real = Path(os.path.realpath(path))
        handler = _Handler({path.name, real.name, _KUBERNETES_LINK}, notice)
        for directory in {path.absolute().parent, real.parent}:
            self._observer.schedule(handler, str(directory))

    def start(self) -> str:
        """Begin to watch; return "" or why that can't be done here."""
        try:
            self._observer.start()
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def stop(self) -> None:
        """End the thread."""
        with contextlib.suppress(RuntimeError):
            self._observer.stop()
            self._observer.join()


class _Handler(FileSystemEventHandler):
    def __init__(self, names: set[str], notice: Callable[[], None]) -> None:
        self._names = names
        self._notice = notice

    def on_any_event(self, event: FileSystemEvent) -> None:
        paths = (os.fsdecode(event.src_path), os.fsdecode(event.dest_path))
        if event.event_type in _CHANGES and any(Path(path).name in self._names for path in paths):
            self._notice()


def _content(path: Path) -> Optional[bytes]:
    try:
        return path.read_bytes()
    except OSError:
        return None
