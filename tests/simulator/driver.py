"""The real pysqream, whichever version is installed, kept from blocking a test or outliving it."""

from __future__ import annotations

import importlib.metadata
import threading
from typing import Any, Callable, Iterator

import pysqream
import pytest
from pysqream import connection as connections
from pysqream import ping

try:
    from pysqream.server.sqsocket import SQSocket
except ImportError:
    from pysqream.SQSocket import SQSocket

MODERN = int(importlib.metadata.version("pysqream").split(".")[0]) >= 6
IO_SECONDS = 2.0
# A worker that isn't a picker says nothing: pysqream waits 5 s for it, which no test has to.
PICKER_SECONDS = 0.3


def tamed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every socket times out, no ping thread keeps the interpreter alive, no finalizer talks to a server."""
    sockets: list[Any] = []
    pings: list[Any] = []
    opened: list[Any] = []

    def remember(cls: Any, kept: list[Any]) -> None:
        original = cls.__init__

        def init(self: Any, *args: Any, **options: Any) -> None:
            kept.append(self)
            original(self, *args, **options)

        monkeypatch.setattr(cls, "__init__", init)

    def timeout(self: Any, seconds: Any = "not passed") -> Any:
        if seconds == "not passed":
            return self.s.gettimeout()
        return self.s.settimeout(IO_SECONDS if seconds is None else min(seconds, PICKER_SECONDS if seconds == 5 else IO_SECONDS))

    remember(SQSocket, sockets)
    remember(ping.PingLoop, pings)
    remember(connections.Connection, opened)
    monkeypatch.setattr(SQSocket, "timeout", timeout)
    monkeypatch.setattr(ping.PingLoop, "daemon", True)
    yield
    for loop in pings:
        loop.done = True
    for connection in opened:
        # Both versions' finalizers leave a connection alone that has these.
        connection.connect_to_database = False
        connection._Connection__is_connection_closed = True
    for item in sockets:
        if hasattr(item, "s"):
            item.s.close()


def connect(port: int | None, **options: Any) -> Any:
    """Return a connection as the service makes it, with `options` instead of its own."""
    settings: dict[str, Any] = {"database": "master", "username": "sqream", "password": "sqream", "service": "monitor", **options}
    return pysqream.connect("127.0.0.1", port, **settings)


def ask(cursor: Any, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    cursor.execute(statement)
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def names(cursor: Any) -> list[str]:
    """Return the column names of the last statement."""
    return [column[0] for column in cursor.description]


def in_background(work: Callable[[], None]) -> threading.Thread:
    """Return a started thread that doesn't keep the interpreter alive."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
