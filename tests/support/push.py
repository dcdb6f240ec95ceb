"""A stand-in for Loki's push address, for tests of the agents: it takes JSON, keeps everything, and can be away."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from typing import Iterator, NamedTuple


class Pushed(NamedTuple):
    """A line as an agent sent it; `ts` in nanoseconds since 1970."""

    labels: dict[str, str]
    ts: int
    line: str
    metadata: dict[str, str]


class PushServer:
    """Loki's push address on loopback; while `away` it answers 503, as Loki does when it can't take lines."""

    def __init__(self) -> None:
        self.away = False
        self.refused = 0
        self.pushed: list[Pushed] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.port = int(self._server.server_address[1])

    @contextlib.contextmanager
    def running(self) -> Iterator[PushServer]:
        """Answer until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def take(self, body: bytes) -> None:
        """Keep the lines of one request."""
        self.pushed += [
            Pushed(stream["stream"], int(ts), line, *(metadata or [{}]))
            for stream in json.loads(body)["streams"]
            for ts, line, *metadata in stream["values"]
        ]


def _handler(server: PushServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/loki/api/v1/push"
            if server.away:
                server.refused += 1
            else:
                server.take(body)
            self.send_response(503 if server.away else 204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # an agent that is killed says no goodbye
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    return Handler
