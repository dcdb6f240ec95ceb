"""The standard streams: all three are kept open, and writing to stderr never blocks the service."""

from __future__ import annotations

import contextlib
import os
import select
import sys

from sqmon.side_thread import SideThread

_WAITING_LINES = 1000


def ensure_open() -> None:
    """Open /dev/null in place of each stream that is closed; otherwise the next file opened, here or in a child, would take its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - as long as the program lasts


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class Relay:
    """Accepts lines without waiting and writes them in a thread, because a stopped terminal or an unread pipe blocks its writers.

    Lines that find no room are counted and left out. (A QueueHandler and a QueueListener would need as much code again: a full queue, the
    end without a wait, and the writing itself would all have to be overridden.)
    """

    def __init__(self, number: int) -> None:
        """Write to the descriptor `number`."""
        self._number = number
        self._left_out = 0
        self._thread = SideThread("log", self._write_whole, room=_WAITING_LINES)

    def write(self, text: str) -> None:
        """Accept one or more lines."""
        if not self._thread.offer(text.encode("utf-8", "backslashreplace")):
            self._left_out += 1

    def flush(self) -> None:
        """Do nothing: accepted lines are on their way."""

    def left_out(self) -> int:
        """Return how many lines were left out since the last call, or 0 while there is still no room to report them."""
        if self._thread.full:
            return 0
        number, self._left_out = self._left_out, 0
        return number

    def end(self, seconds: float) -> None:
        """Wait until everything is written, at most `seconds`; when the queue is full nobody reads, and there is no wait."""
        self._thread.end(0.0 if self._thread.full else seconds)

    def _write_whole(self, line: bytes) -> None:
        # The reader may be gone, or its disk full; the file objects of Python are avoided because their locks would hold the exit.
        with contextlib.suppress(OSError):
            while line:
                # Another process may have made the shared stream non-blocking, and then a full pipe would be an error.
                select.select([], [self._number], [])
                line = line[os.write(self._number, line) :]
