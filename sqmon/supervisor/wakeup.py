"""The wakeups of the supervisor's loop: a signal or another thread writes one byte to a socket, and what has time waits for the grid."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
from typing import Any, NamedTuple

_POKE = 0

GRID_SECONDS = 0.5
"""How long the reports of polling children may lie in their sockets: a wake-up costs more than what it hears."""


def on_grid(moment: float) -> float:
    """Return the last moment of the grid up to `moment`: what is due about once a second shares one wake-up."""
    return math.floor(moment / GRID_SECONDS) * GRID_SECONDS


class Woken(NamedTuple):
    """What has arrived since the last look."""

    signals: list[signal.Signals]
    poked: bool


class Wakeup:
    """A descriptor that becomes readable when one of `numbers` arrives or `poke` is called."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            # Only a signal with a handler is written to the descriptor.
            signal.signal(number, _do_nothing)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._ours.fileno()

    def poke(self) -> None:
        """Wakeup the supervisor; may be called from any thread. A full buffer wakes it just as well."""
        with contextlib.suppress(OSError):
            self._theirs.send(bytes([_POKE]))

    def take(self) -> Woken:
        """Return what has arrived."""
        try:
            numbers = self._ours.recv(1 << 16)
        except BlockingIOError:
            numbers = b""
        return Woken([signal.Signals(number) for number in numbers if number != _POKE], _POKE in numbers)

    def close(self) -> None:
        """Stop listening to signals."""
        signal.set_wakeup_fd(-1)
        self._ours.close()
        self._theirs.close()


def _do_nothing(*_: Any) -> None:
    pass
