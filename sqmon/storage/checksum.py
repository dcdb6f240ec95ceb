"""The SHA-256 of a growing file; large amounts of data are hashed by a thread."""

from __future__ import annotations

import hashlib
import queue
import threading
from typing import Callable, Optional

_LARGE = 64 * 1024  # bytes: hashing more takes longer than handing it to a thread
_WAITING = 4  # writes that may wait to be hashed; their memory is kept until then


class Checksum:
    """Hashes bytes in the order in which they are given.

    Hashing would take a quarter of the time that a row needs to get into its file. hashlib releases the interpreter's
    lock, so the first large write starts a thread that hashes while the next rows are encoded; small writes never do.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._waiting: queue.Queue[Optional[memoryview]] = queue.Queue(_WAITING)
        self._thread: Optional[threading.Thread] = None

    def update(self, data: memoryview) -> None:
        """Add the bytes, which must not change afterwards."""
        if self._thread is None and len(data) >= _LARGE:
            self._thread = _started(self._work)
        if self._thread is None:
            self._sha256.update(data)
        else:
            self._waiting.put(data)

    def hexdigest(self) -> str:
        """Return the checksum of all bytes so far, and end the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        return self._sha256.hexdigest()

    def _work(self) -> None:
        while True:
            data = self._waiting.get()
            if data is None:
                return
            self._sha256.update(data)


def _started(work: Callable[[], None]) -> Optional[threading.Thread]:
    thread = threading.Thread(target=work, name="checksum", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system allows no more threads
        return None
    return thread
