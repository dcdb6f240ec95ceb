"""Connecting to a host by any of its addresses, in place of pysqream's socket, which knows only one IPv4 address."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Optional, Union

from sqmon.database.deadline_socket import Guard


class Dialer:
    """A stand-in for a socket until it is connected; `connected` is the real one."""

    def __init__(self, raw: socket.socket, guard: Guard) -> None:
        self.connected = raw
        """The socket that pysqream made, perhaps for TLS; replaced for each address that is tried."""
        self._guard = guard
        self._seconds: Optional[float] = None
        guard.connecting(raw)

    def settimeout(self, seconds: Optional[float]) -> None:
        """Limit how long one address may take, besides its share of the time that is left."""
        self._seconds = seconds

    def gettimeout(self) -> Optional[float]:
        """Return what settimeout was given."""
        return self._seconds

    def connect(self, address: tuple[Union[str, bytes, bytearray], int]) -> None:
        """Connect to the first address of the host that answers; raises the last one's OSError when none does.

        IPv4 comes first, because workers listen there and something else may listen on the same port of ::1. An address that
        does not answer costs no more than its share of the time, so that the ones after it are still tried.
        """
        host, port = address
        name = host if isinstance(host, str) else bytes(host).decode()
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        found.sort(key=lambda info: info[0] != socket.AF_INET)
        failure: Optional[OSError] = None
        for place, (family, _, _, _, target) in enumerate(found):
            failure = self._tried(family, target, self._guard.remaining() / (len(found) - place))
            if failure is None:
                return
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Close the socket that was made last."""
        self.connected.close()

    def _tried(self, family: int, target: tuple[Any, ...], share: float) -> Optional[OSError]:
        """Connect to one address; return what is wrong with it."""
        fresh = socket.socket(family)
        self.connected.close()
        if isinstance(self.connected, ssl.SSLSocket):
            fresh = self.connected.context.wrap_socket(fresh, server_hostname=self.connected.server_hostname)
        self.connected = fresh
        self._guard.connecting(fresh)
        fresh.settimeout(share if self._seconds is None else min(self._seconds, share))
        try:
            fresh.connect(target)
        except OSError as error:
            return error
        return None
