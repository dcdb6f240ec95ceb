"""The SHA-256 of a growing file; large amounts of data are hashed by a thread."""

from __future__ import annotations

import hashlib
import queue
import threading
from typing import Callable, Optional

_MUCH_BYTES = 4 << 20  # without a pause: a large poll, whose next rows are encoded while the thread hashes
_LOT_BYTES = 512 << 10  # what the thread gets at a time: waking it takes as long as hashing 64 KiB


class Checksum:
    """Hashes bytes in the order in which they are given.

    Hashing would take a quarter of the time that a row needs to get into its file. hashlib releases the interpreter's lock, so what comes
    without a pause after the first 4 MiB is hashed by a thread. Ordinary polls never start it: to hand over costs more processor time than
    it saves.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._since_pause = 0
        self._lot: list[memoryview] = []
        self._lot_bytes = 0
        self._handed_over: queue.Queue[Optional[list[memoryview]]] = queue.Queue(1)
        self._thread: Optional[threading.Thread] = None

    def update(self, data: memoryview) -> None:
        """Add the bytes, which must not change afterwards."""
        self._since_pause += len(data)
        if self._since_pause <= _MUCH_BYTES:
            self._sha256.update(data)
            return
        self._lot.append(data)
        self._lot_bytes += len(data)
        if self._lot_bytes >= _LOT_BYTES:
            self._hand_over()

    def pause(self) -> None:
        """Hash what waits, and let go of its memory, since nothing may come for a while."""
        if self._since_pause > _MUCH_BYTES:
            self._handed_over.join()
            self._hash(self._lot)
            self._lot, self._lot_bytes = [], 0
        self._since_pause = 0

    def hexdigest(self) -> str:
        """Return the checksum of all bytes so far, and end the thread."""
        self.pause()
        if self._thread is not None:
            self._handed_over.put(None)
            self._thread.join()
            self._thread = None
        return self._sha256.hexdigest()

    def _hand_over(self) -> None:
        lot, self._lot, self._lot_bytes = self._lot, [], 0
        if self._thread is None:
            self._thread = _started(self._work)
        if self._thread is None:
            self._hash(lot)
        else:
            self._handed_over.put(lot)

    def _work(self) -> None:
        while True:
            lot = self._handed_over.get()
            if lot is None:
                return
            self._hash(lot)
            del lot
            self._handed_over.task_done()

    def _hash(self, lot: list[memoryview]) -> None:
        for data in lot:
            self._sha256.update(data)


def _started(work: Callable[[], None]) -> Optional[threading.Thread]:
    thread = threading.Thread(target=work, name="checksum", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system allows no more threads
        return None
    return thread
