"""What sqmon asks of its standard streams: that they are open, and that it never waits for whoever reads them."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import sys
import threading
from typing import Optional

_WAITING_LINES = 1000


def ensure_open() -> None:
    """Open /dev/null for each of the three that was closed: the next file that is opened would be taken for it, here or in a child."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free, which is this one
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - as long as the program lasts


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class Relay:
    """Takes lines at once and writes them in a thread, since a stopped terminal or a pipe that nobody reads makes a writer wait.

    Lines for which there is no room are counted and left out.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._lines: queue.Queue[Optional[bytes]] = queue.Queue(_WAITING_LINES)
        self._left_out = 0
        self._thread: Optional[threading.Thread] = None

    def write(self, text: str) -> None:
        """Take one line or several."""
        if self._thread is None:
            # A daemon, and no file object of Python's, so that an exit doesn't wait for the reader either.
            self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(text.encode("utf-8", "backslashreplace"))
        except queue.Full:
            self._left_out += 1

    def flush(self) -> None:
        """Do nothing: what was taken is on its way."""

    def left_out(self) -> int:
        """Return how many lines were left out since the last call, or 0 while there still is no room to tell of them."""
        if self._lines.full():
            return 0
        number, self._left_out = self._left_out, 0
        return number

    def end(self, seconds: float) -> None:
        """Wait until everything is written, `seconds` at most; where there is no room nobody reads, and nothing is waited for."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._lines.put_nowait(None)
                self._thread.join(seconds)
            self._thread = None

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            if line is None:
                return
            # Whoever reads may have gone, or have run out of disk.
            with contextlib.suppress(OSError):
                while line:
                    # Whoever shares the stream may have made it non-blocking, and then a full pipe would be an error.
                    select.select([], [self._number], [])
                    line = line[os.write(self._number, line) :]
