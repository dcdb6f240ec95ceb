"""Watches on a file or on the files of a directory, which notice every change, of links and of directories on the way as well."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Callable, Optional

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from sqmon.errors import reason_of

# Not "opened" and "closed_no_write", which our own reading causes, and not "modified", which comes before a file is whole.
_CHANGES = {"closed", "created", "deleted", "moved"}
_KUBERNETES_LINK = "..data"
_LOOK_SECONDS = 1.0
_JOIN_SECONDS = 1.0


class Watch:
    """Calls `notice`, from threads of its own, when something may have changed.

    The kernel tells at once of what happens in the directories of the file and of what it links to (directories, because editors save
    by renaming). That is deaf to a directory that is renamed and made again, to a link that is pointed elsewhere, to a change of
    rights, and to other hosts; so once a second the path is looked at from its beginning, which is all that is done where the kernel
    has no watches left.
    """

    def __init__(
        self, directories: Callable[[], set[Path]], concerns: Callable[[Path], bool], look: Callable[[], object], notice: Callable[[], None]
    ) -> None:
        """The kernel tells of the `directories`, of whose files some `concern` us; `look` is what is looked at once a second."""
        self._directories = directories
        self._concerns = concerns
        self._find = look
        self._notice = notice
        self._ended = threading.Event()
        self._looker = threading.Thread(target=self._look, name="file watch", daemon=True)
        self._observer: Optional[BaseObserver] = None

    def start(self) -> str:
        """Begin to watch; return "" or why the kernel doesn't tell, so that a change is noticed a second later."""
        self._looker.start()
        handler = _Handler(self._concerns, self._notice)
        observer = None
        try:
            observer = Observer()
            for directory in self._directories():
                observer.schedule(handler, str(directory))
            observer.start()
        except OSError as error:
            if observer is not None:
                observer.unschedule_all()
            return reason_of(error)
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
        known, settled = self._find(), True
        while not self._ended.wait(_LOOK_SECONDS):
            found = self._find()
            if found != known or not settled:
                # A file that is written to twice within a tick of the file system's clock looks the same: so it is looked at once more.
                known, settled = found, found == known
                self._notice()


class Watcher(Watch):
    """A watch on one file."""

    def __init__(self, path: Path, notice: Callable[[], None]) -> None:
        real = Path(os.path.realpath(path))
        names = {path.name, real.name, _KUBERNETES_LINK}
        super().__init__(
            lambda: {path.absolute().parent, real.parent}, lambda changed: changed.name in names, lambda: identity(path), notice
        )


class _Handler(FileSystemEventHandler):
    def __init__(self, concerns: Callable[[Path], bool], notice: Callable[[], None]) -> None:
        self._concerns = concerns
        self._notice = notice

    def on_any_event(self, event: FileSystemEvent) -> None:
        paths = (os.fsdecode(event.src_path), os.fsdecode(event.dest_path))
        if event.event_type in _CHANGES and any(path and self._concerns(Path(path)) for path in paths):
            self._notice()


def identity(path: Path) -> Optional[tuple[int, ...]]:
    """Return what is different when the path leads to another file, or to the same one with another content or other rights."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
