"""The transport half of a connection: frames come in and go out, one request at a time, and faults act in between."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Callable, Optional

from sqmon.simulator import fault_effects, protocol
from sqmon.simulator.faults import ANY, Faults
from sqmon.simulator.protocol import Frames, Message, ProtocolError


class Connection(asyncio.Protocol):
    """A connection that reads all the time, so that it takes pings while a statement runs, and hands on one request at a time."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.version = protocol.VERSIONS[-1]
        self._frames = Frames()
        self._waiting: deque[Message] = deque()
        self._busy = False
        self._transport: Optional[asyncio.Transport] = None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, which is there from the first byte to the last."""
        assert self._transport is not None
        return self._transport

    def answer(self, body: dict[str, Any]) -> None:
        """Answer one request."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.gate("connect", ANY, lambda: None)

    def connection_lost(self, exc: Optional[Exception]) -> None:  # noqa: ARG002
        """See asyncio.Protocol."""
        self._busy = True
        self._waiting.clear()
        # Python 3.9 takes a TLS transport that lost its connection for one that nobody closed.
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            self._waiting.extend(message for message in self._frames.feed(data) if "ping" not in message.body)
        except ProtocolError:
            self.transport.close()
            return
        self._pump()

    def reply(self, body: dict[str, Any]) -> None:
        """Send one text frame."""
        self.transport.write(protocol.text(self.version, body))

    def block(self) -> None:
        """Answer nothing from now on, but go on reading."""
        self._busy = True

    def resume(self, proceed: Callable[[], None]) -> None:
        """Do what was held up, then go on with the requests that have come in since."""
        if not self.transport.is_closing():
            self._busy = False
            proceed()
            self._pump()

    def gate(self, step: str, function: str, proceed: Callable[[], None]) -> None:
        """Call `proceed`, or let the fault act that is set for this step."""
        fault = self.faults.take(step, function)
        if fault is None:
            proceed()
        else:
            fault_effects.act(self, fault, proceed)

    def _pump(self) -> None:
        while self._waiting and not self._busy and not self.transport.is_closing():
            message = self._waiting.popleft()
            self.version = message.version
            self.answer(message.body)
