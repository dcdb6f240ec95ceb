"""How the tests read lines from a Loki: page by page, with the traps that Loki 3.4.6 has."""

from __future__ import annotations

import http.server
import json
import threading
import time
import urllib.parse
from typing import Iterator

import pytest

from tests.support.loki import Loki

HOUR_NS = 3600 * 10**9
NOW_NS = time.time_ns()


class Pages(http.server.ThreadingHTTPServer):
    """Answers query_range as Loki does: [start, end), `limit` lines at most, oldest first; 400 for a page over a full hour."""

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lines = sorted(lines)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        start, end, limit = int(asked["start"]), int(asked["end"]), int(asked["limit"])
        found = [[str(ts), line] for ts, line in self.server.lines if start <= ts < end][:limit]
        within_the_hour = start // HOUR_NS == (end - 1) // HOUR_NS
        self.send_response(200 if within_the_hour and limit <= 5000 else 400)
        self.end_headers()
        self.wfile.write(json.dumps({"data": {"result": [{"stream": {"job": "sqmon"}, "values": found}]}}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def written() -> list[tuple[int, str]]:
    """Return 20,000 lines of the last three hours; several share their time, where a page ends too."""
    return [(NOW_NS - 3 * HOUR_NS + number // 7 * (3 * HOUR_NS // 3000), f"line {number}") for number in range(20_000)]


@pytest.fixture
def server(written: list[tuple[int, str]]) -> Iterator[Loki]:
    """Serve them."""
    with Pages(written) as pages:
        thread = threading.Thread(target=pages.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Loki(pages.server_address[1])
        pages.shutdown()
        thread.join()


def test_every_line_is_read_once(server: Loki, written: list[tuple[int, str]]) -> None:
    """A page begins with the instant in which the one before ended, and none crosses a full hour."""
    found = [(ts, line) for _, ts, line in server.lines('{job="sqmon"}', 4 * 3600)]

    assert sorted(found) == sorted(written)
