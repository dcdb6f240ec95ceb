"""Sockets with a deadline: all sockets of a connection answer before it or fail together, whatever the driver does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from typing import Callable, Optional, TypeVar

from sqmon.database.read_ahead import ReadAhead
from sqmon.errors import QueryTimeoutError

PING_SECONDS = 10.0
"""How often SQreamDB wants to hear from a client that waits for an answer (pysqream's own rhythm)."""

_PROMPT_SECONDS = 0.25
"""How long the system waits by itself, which costs one call; an answer that takes longer is worth three calls and a look at the clock."""

_PROMPT = struct.pack("ll", 0, int(_PROMPT_SECONDS * 1e6))  # a struct timeval

T = TypeVar("T")
R = TypeVar("R")

_PING_TEXT = b'{"ping":"ping"}'
_PING = b"\x08\x01" + len(_PING_TEXT).to_bytes(8, "little") + _PING_TEXT


class Guard:
    """What the sockets of one connection share: the deadline of the running step, and the failure that ended everything."""

    def __init__(self) -> None:
        self.pings = False
        """Whether a waiting reader sends pings; no thread does."""
        self.failure: Optional[Exception] = None
        self._sockets: list[GuardedSocket] = []
        self._connecting: Optional[socket.socket] = None
        self.prompt_until = 0.0
        """Until when a socket may wait without a look at the deadline, in monotonic seconds."""
        self._seconds = 0.0
        self._deadline = 0.0

    def start(self, seconds: float) -> None:
        """Begin a step that may take `seconds` in all."""
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        if self.failure is None:
            self.prompt_until = self._deadline - _PROMPT_SECONDS

    def remaining(self) -> float:
        """Return the seconds left; raises socket.timeout when there are none (pysqream and Python 3.9 know it by that name)."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            text = f"no answer within {self._seconds:g} s"
            self.fail(QueryTimeoutError(text))
            raise socket.timeout(text)
        return left

    def check(self) -> float:
        """Return the seconds left for a socket that is still of use; raises OSError for one that is not."""
        if self.failure is not None:
            raise ConnectionAbortedError("the connection was given up")
        return self.remaining()

    def fail(self, failure: Exception) -> None:
        """Remember the first failure; what a driver raises on top of it is noise."""
        if self.failure is None:
            self.failure = failure
            self.prompt_until = 0.0
            for guarded in self._sockets:
                guarded.forget()

    def connecting(self, raw: socket.socket) -> None:
        """Take note of a socket that may never be connected but must be closed nevertheless."""
        self._connecting = raw

    def watch(self, raw: socket.socket) -> GuardedSocket:
        """Return `raw`, connected, as a socket of this guard."""
        self._connecting = None
        guarded = GuardedSocket(raw, self)
        # A server that moves each statement to another worker causes a new socket for each, so closed ones are forgotten.
        self._sockets = [*(known for known in self._sockets if not known.closed), guarded]
        return guarded

    def shut(self) -> None:
        """Close every socket without saying goodbye."""
        for guarded in self._sockets:
            guarded.shut()
        self._sockets.clear()
        if self._connecting is not None:
            self._connecting.close()
            self._connecting = None


class GuardedSocket(ReadAhead):
    """The part of a socket that pysqream uses, bound to its guard's deadline."""

    def __init__(self, raw: socket.socket, guard: Guard) -> None:
        super().__init__()
        self._raw = raw
        self._guard = guard
        self._timeout: Optional[float] = None
        self._is_prompt = not isinstance(raw, ssl.SSLSocket)
        if self._is_prompt:
            raw.settimeout(None)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                raw.setsockopt(socket.SOL_SOCKET, option, _PROMPT)

    @property
    def closed(self) -> bool:
        """Whether it is of no more use."""
        return self._raw.fileno() < 0

    def arrived(self, room: int) -> bytes:
        """See ReadAhead; sends a ping now and then where the server knows them, and raises socket.timeout at the deadline."""
        return self._waited(self._raw.recv, room)

    def arrived_into(self, view: memoryview) -> int:
        """See `arrived`."""
        return self._waited(self._raw.recv_into, view)

    def _waited(self, receive: Callable[[T], R], argument: T) -> R:
        """Return what the socket's method returns, as soon as something has arrived."""
        if self._is_prompt and time.monotonic() < self._guard.prompt_until and self._timeout is None:
            try:
                return receive(argument)
            except (BlockingIOError, socket.timeout):
                pass
        received = self._waited_until_deadline(receive, argument)
        if self._is_prompt:
            self._raw.settimeout(None)
        return received

    def _waited_until_deadline(self, receive: Callable[[T], R], argument: T) -> R:
        ping_due = time.monotonic() + PING_SECONDS
        while True:
            patience = self._guard.check()
            if self._timeout is not None:
                patience = min(patience, self._timeout)
            elif self._guard.pings:
                patience = min(patience, max(ping_due - time.monotonic(), 0.001))
            self._raw.settimeout(patience)
            try:
                return receive(argument)
            except socket.timeout:
                if self._timeout is not None:
                    raise
            if self._guard.pings and time.monotonic() >= ping_due:
                ping_due += PING_SECONDS
                self.send(_PING)

    def send(self, data: bytes) -> int:
        """Send all of `data`: pysqream ignores how much of it a send took."""
        size = len(data)
        try:
            sent = self._raw.send(data) if self._is_prompt and time.monotonic() < self._guard.prompt_until else 0
        except (BlockingIOError, socket.timeout):
            sent = 0
        if sent == size:
            return size
        self._raw.settimeout(self._guard.check())
        try:
            self._raw.sendall(memoryview(data)[sent:])
        except socket.timeout:
            self._guard.remaining()
            raise
        if self._is_prompt:
            self._raw.settimeout(None)
        return size

    def settimeout(self, seconds: Optional[float]) -> None:
        """Limit each single wait, besides the deadline; None for no such limit."""
        self._timeout = seconds

    def gettimeout(self) -> Optional[float]:
        """Return what settimeout was given."""
        return self._timeout

    def close(self) -> None:
        """Close the socket, as pysqream does before it opens another one."""
        self._raw.close()

    def shut(self) -> None:
        """Close the socket, and wake the thread that is blocked in it."""
        with contextlib.suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)
        self._raw.close()


class ReaderPings:
    """A stand-in for pysqream's ping thread, which keeps a process from ending: here the waiting reader sends the pings."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def start(self) -> None:
        """Let the guard's readers send pings from now on."""
        self._guard.pings = True

    def halt(self) -> None:
        """Do nothing, since no thread runs."""

    def join(self, timeout: Optional[float] = None) -> None:
        """Do nothing, since no thread runs."""
