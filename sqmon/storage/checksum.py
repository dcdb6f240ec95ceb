"""The SHA-256 of a file while it grows; of much data at once it is computed beside the caller."""

from __future__ import annotations

import hashlib
import queue
import threading
from typing import Callable, Optional

_LARGE = 64 * 1024  # bytes: hashing more takes longer than handing it to a thread
_WAITING = 4  # writes that may wait to be hashed; they keep their memory for so long


class Checksum:
    """Takes the bytes in their order.

    A quarter of the way from row to file would be this hash. hashlib works without the interpreter's lock, so the
    first large write starts a thread that goes on hashing while the next rows are encoded; small ones never do.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._waiting: queue.Queue[Optional[memoryview]] = queue.Queue(_WAITING)
        self._thread: Optional[threading.Thread] = None

    def update(self, data: memoryview) -> None:
        """Add the bytes, which must not change any more."""
        if self._thread is None and len(data) >= _LARGE:
            self._thread = _started(self._work)
        if self._thread is None:
            self._sha256.update(data)
        else:
            self._waiting.put(data)

    def hexdigest(self) -> str:
        """The checksum of all bytes so far; ends the thread."""
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
