"""The HTTP server of the Prometheus exporter: a few connections, for a few seconds each."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

CONNECTIONS = 8
"""How many may be open at the same time; one more closes the oldest."""

SECONDS = 10.0
"""How long one may last. Prometheus waits as long for a scrape by default."""

_LOOK_SECONDS = 0.25


class ScrapeServer(socketserver.ThreadingMixIn, WSGIServer):
    """Serves each connection in a thread of its own, in which nobody can stay.

    An unbounded server lets idle connections use up the descriptors of the process, and then spins on the `accept` that fails.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: str, port: int, *, seconds: float = SECONDS) -> None:
        """Listen on `address:port`, 0 for any free port; no connection lasts longer than `seconds`.

        Raises OSError or UnicodeError when it can't listen there.
        """
        self._seconds = seconds
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, place = found[0][0], found[0][4]
        self._opened: dict[socket.socket, float] = {}
        self._changed = threading.Condition()
        super().__init__((str(place[0]), port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(_LOOK_SECONDS,), name="scrapes", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, and end what is open."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._changed:
            self._end_all(list(self._opened))

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of the host's own name, which may take as long as a broken name server does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; wait a moment when that fails, since a process without free descriptors gets none at the next try either."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_LOOK_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve the connection, at the cost of the oldest if there are too many."""
        with self._changed:
            self._opened[request] = time.monotonic()
            self._end_all(list(self._opened)[:-CONNECTIONS])
            self._changed.wait_for(lambda: len(self._opened) <= CONNECTIONS, _LOOK_SECONDS)
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """End connections that have lasted too long, whatever they do."""
        now = time.monotonic()
        with self._changed:
            self._end_all([each for each, opened in self._opened.items() if now - opened > self._seconds])

    def shutdown_request(self, request: Any) -> None:
        """Close the connection."""
        with self._changed:
            self._opened.pop(request, None)
            self._changed.notify()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that has gone is no news."""
        del request, client_address

    @staticmethod
    def _end_all(connections: list[socket.socket]) -> None:
        """Wake the threads of the connections, which then close them."""
        for each in connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    """Answers one request and logs nothing."""

    def log_message(self, *_: object) -> None:
        """See BaseHTTPRequestHandler."""
