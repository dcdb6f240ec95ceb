"""A client that speaks single frames, for what no driver sends or shows."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

HEADER = struct.Struct("<BBq")
LOGIN = {"username": "sqream", "password": "sqream", "connectDatabase": "master", "service": "monitor"}
IO_SECONDS = 5.0


class Wire:
    """One plain TCP connection; reads fail after a deadline."""

    def __init__(self, port: int, version: int = 8) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=IO_SECONDS)
        self.version = version

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, body: Any) -> None:
        """Send one text frame; a string goes out as it is."""
        payload = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.socket.sendall(HEADER.pack(self.version, 1, len(payload)) + payload)

    def exactly(self, count: int) -> bytes:
        """Return that many bytes; EOFError when the server ends before."""
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError(f"{len(data)} of {count} bytes")
            data += piece
        return data

    def frame(self) -> tuple[int, int, bytes]:
        """Return version, kind and payload of the next frame."""
        version, kind, length = HEADER.unpack(self.exactly(HEADER.size))
        return version, kind, self.exactly(length)

    def ask(self, body: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        self.send(body)
        answer: dict[str, Any] = json.loads(self.frame()[2])
        return answer

    def login(self) -> int:
        """Log in and return the connection's id."""
        return int(self.ask(LOGIN)["connectionId"])

    def prepare(self, statement: str) -> dict[str, Any]:
        """Open a statement and prepare it."""
        self.ask({"getStatementId": "getStatementId"})
        return self.ask({"prepareStatement": statement, "chunkSize": 0})

    def run(self, statement: str) -> None:
        """Prepare and execute a statement."""
        assert "error" not in self.prepare(statement)
        assert self.ask({"execute": "execute"}) == {"executed": "executed"}

    def silent(self, seconds: float) -> bool:
        """Return whether nothing comes for that long while the connection stays open."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b"never"
        except TimeoutError:
            return True
        except socket.timeout:
            # Not yet the same as TimeoutError on Python 3.9.
            return True
        finally:
            self.socket.settimeout(IO_SECONDS)

    def reset(self) -> bool:
        """Return whether the connection is reset."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return False
