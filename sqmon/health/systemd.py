"""The messages to systemd in its own protocol, sd_notify: ready, status, still alive, reloading, stopping."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Mapping, Optional

from sqmon.errors import shown


class SystemdNotifier:
    """Sends messages to the service manager that started this process, if there is one.

    The supervisor's own loop sends them all, above all the watchdog's sign of life, which proves nothing when a thread sends it.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address: Optional[str] = None
        if address.startswith(("/", "@")):
            self._address = "\0" + address[1:] if address.startswith("@") else address
        self._every: Optional[float] = None
        if (
            self._address
            and environ.get("WATCHDOG_USEC", "").isdigit()
            and environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        ):
            # Twice per period, as sd_watchdog_enabled(3) asks.
            self._every = int(environ["WATCHDOG_USEC"]) / 2e6
        self._alive_at = float("-inf")
        self._status = ""

    def ready(self) -> None:
        """The start-up, or a reload, is over."""
        self._send("READY=1")

    def starting(self, seconds: float) -> None:
        """The start-up goes on; another sign of it comes within `seconds`."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def reloading(self) -> None:
        """The configuration is being read again, until `ready`."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    def alive(self, now: float, status: str) -> None:
        """Say that the loop is running, as often as the manager asked for, and `status` when it has changed."""
        if self._every is not None and now - self._alive_at >= self._every:
            self._alive_at = now
            self._send("WATCHDOG=1")
        if status != self._status:
            self._status = status
            self._send(f"STATUS={shown(status)}")

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        # A manager that is restarting must not end its services.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as messages:
            messages.setblocking(False)
            messages.sendto(text.encode(), self._address)
