"""A thread that notices when a file may have changed, by watching the directories that lead to it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Callable

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

# Not "opened" and "closed_no_write", which our own reading causes, and not "modified", which comes before a file is whole.
_CHANGES = {"closed", "created", "deleted", "moved"}
_KUBERNETES_LINK = "..data"


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
