"""Server pickers: they tell a client where a worker is."""

from __future__ import annotations

import asyncio
import ssl
import struct
from typing import Callable

# How long a client may take to begin TLS before it counts as one that never will: pysqream and the Node.js driver say nothing to a picker.
SILENT_SECONDS = 0.1


class Picker(asyncio.Protocol):
    """A picker that says at once where a worker is, whether or not it runs, and closes."""

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._tell()

    def answer(self) -> bytes:
        """Return the worker's address as the protocol writes it."""
        host: bytes = self._transport.get_extra_info("sockname")[0].encode()
        return struct.pack("<i", len(host)) + host + struct.pack("<i", self._port())

    def _tell(self) -> None:
        # One write: some clients read once and expect all of it.
        self._transport.write(self.answer())
        self._transport.close()


class TlsPicker(Picker):
    """The picker for TLS workers: JDBC speaks TLS with it, other drivers don't, and both get their answer."""

    def __init__(self, port: Callable[[], int], context: ssl.SSLContext) -> None:
        super().__init__(port)
        self._received, self._sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._sent, server_side=True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._silent = asyncio.get_running_loop().call_later(SILENT_SECONDS, self._tell)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See asyncio.Protocol."""
        self._silent.cancel()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._silent.cancel()
        self._received.write(data)
        try:
            self._tls.do_handshake()
            self._tls.write(self.answer())
        except ssl.SSLWantReadError:
            self._transport.write(self._sent.read())
        except ssl.SSLError:
            self._transport.close()
        else:
            self._transport.write(self._sent.read())
            self._transport.close()
