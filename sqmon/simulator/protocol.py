"""Frames of the SQream protocol: a ten byte header, then JSON text or packed columns."""

from __future__ import annotations

import json
import struct
from typing import Any, Iterator, NamedTuple

HEADER = struct.Struct("<BBq")
TEXT = 1
BINARY = 2
VERSIONS = (6, 7, 8)
MAX_PAYLOAD = 1 << 20
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class ProtocolError(Exception):
    """Bytes that no client of this protocol sends, after which nothing on the connection can be trusted."""


class Message(NamedTuple):
    """One request: the version byte to echo in its answer, and its JSON object."""

    version: int
    body: dict[str, Any]


def frame(version: int, kind: int, payload: bytes) -> bytes:
    """Return one whole frame."""
    return HEADER.pack(version, kind, len(payload)) + payload


def text(version: int, body: dict[str, Any]) -> bytes:
    """Return one whole text frame, without blanks, because clients compare some answers as literal text."""
    return frame(version, TEXT, _compact(body).encode())


class Frames:
    """The bytes of one connection, cut into messages however they were split on the way."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield every message that `data` completes; raises ProtocolError as soon as the bytes can't become one."""
        buffer = self._buffer
        buffer += data
        while buffer:
            # A TLS ClientHello starts with 0x16 and the client then waits: refuse on the first byte.
            if buffer[0] not in VERSIONS:
                raise ProtocolError(f"protocol version {buffer[0]} is not one of {VERSIONS}")
            if len(buffer) < HEADER.size:
                return
            version, kind, length = HEADER.unpack_from(buffer)
            if kind != TEXT:
                raise ProtocolError(f"frame kind {kind}: clients of a monitor send text only")
            if not 0 <= length <= MAX_PAYLOAD:
                raise ProtocolError(f"payload of {length} bytes; at most {MAX_PAYLOAD}")
            end = HEADER.size + length
            if len(buffer) < end:
                return
            payload = bytes(buffer[HEADER.size : end])
            del buffer[:end]
            yield Message(version, _parsed(payload))


def _parsed(payload: bytes) -> dict[str, Any]:
    try:
        body = json.loads(payload)
    except ValueError as error:
        raise ProtocolError(f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ProtocolError("not a JSON object")
    return body
