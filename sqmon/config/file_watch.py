"""A watch on one file that notices every change of it, of the directories that lead to it, and of links on the way."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Callable, Optional

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

# Not "opened" and "closed_no_write", which our own reading causes, and not "modified", which comes before a file is whole.
_CHANGES = {"closed", "created", "deleted", "moved"}
_KUBERNETES_LINK = "..data"
_LOOK_SECONDS = 1.0
_JOIN_SECONDS = 1.0


class Watcher:
    """Calls `notice`, from threads of its own, when the file may have changed.

    The kernel tells at once of what happens in the directories of the file and of what it links to (directories, because editors save
    by renaming). That is deaf to a directory that is renamed and made again, to a link that is pointed elsewhere, to a change of
    rights, and to other hosts; so once a second the path is looked at from its beginning, which is all that is done where the kernel
    has no watches left.
    """

    def __init__(self, path: Path, notice: Callable[[], None]) -> None:
        self._path = path
        self._notice = notice
        self._ended = threading.Event()
        self._looker = threading.Thread(target=self._look, name="file watch", daemon=True)
        self._observer: Optional[BaseObserver] = None

    def start(self) -> str:
        """Begin to watch; return "" or why the kernel doesn't tell, so that a change is noticed a second later."""
        self._looker.start()
        real = Path(os.path.realpath(self._path))
        handler = _Handler({self._path.name, real.name, _KUBERNETES_LINK}, self._notice)
        observer = None
        try:
            observer = Observer()
            for directory in {self._path.absolute().parent, real.parent}:
                observer.schedule(handler, str(directory))
            observer.start()
        except OSError as error:
            if observer is not None:
                observer.unschedule_all()
            return error.strerror or str(error)
        self._observer = observer
        return ""

    def stop(self) -> None:
        """End the threads."""
        self._ended.set()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
        # It may be in a stat() that a dead file server never answers.
        self._looker.join(_JOIN_SECONDS)

    def _look(self) -> None:
        known, settled = _identity(self._path), True
        while not self._ended.wait(_LOOK_SECONDS):
            found = _identity(self._path)
            if found != known or not settled:
                # A file that is written to twice within a tick of the file system's clock looks the same: so it is looked at once more.
                known, settled = found, found == known
                self._notice()


class _Handler(FileSystemEventHandler):
    def __init__(self, names: set[str], notice: Callable[[], None]) -> None:
        self._names = names
        self._notice = notice

    def on_any_event(self, event: FileSystemEvent) -> None:
        paths = (os.fsdecode(event.src_path), os.fsdecode(event.dest_path))
        if event.event_type in _CHANGES and any(Path(path).name in self._names for path in paths):
            self._notice()


def _identity(path: Path) -> Optional[tuple[int, ...]]:
    """Return what is different when the path leads to another file, or to the same one with another content or other rights."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
