"""What has arrived on a connection, read in one go and handed out on request."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from typing import Optional, Union

_LEAST = 4096
_MOST = 65536
"""How much is read in one go: little at first, since most polls are small, then twice as much whenever it was not enough."""

_HEADER_BYTES = 10
_VERSIONS = frozenset({6, 7, 8})
_TEXT = 1


class ReadAhead(ABC):
    """Pieces of what arrives; pysqream asks for each header and each buffer of a column separately, dozens of times a poll."""

    def __init__(self) -> None:
        self._ahead = io.BytesIO()
        self._room = _LEAST

    @abstractmethod
    def arrived(self, room: int) -> bytes:
        """Return at most `room` bytes, at least one unless the other end has closed the connection; wait for them as long as allowed."""

    @abstractmethod
    def arrived_into(self, view: memoryview) -> int:
        """Do the same with a buffer to be filled, and return how many bytes are in it."""

    def receive(self, size: int) -> Union[bytes, bytearray]:
        """Return the next `size` bytes. Raises ConnectionError when the other end closes the connection before."""
        piece = self._ahead.read(size)
        return piece if len(piece) == size else self._completed(piece, size)

    def text(self) -> Optional[str]:
        """Return the next answer if it arrives as one text frame, as nearly all do; else return None and take nothing."""
        data = self._ahead.read()
        if not data:
            data = self._more()
        end = _HEADER_BYTES + int.from_bytes(data[2:_HEADER_BYTES], "little")
        if len(data) < max(end, _HEADER_BYTES) or data[0] not in _VERSIONS or data[1] != _TEXT:
            self._ahead = io.BytesIO(data)
            return None
        if len(data) > end:
            self._ahead = io.BytesIO(data)
            self._ahead.seek(end)
        return data[_HEADER_BYTES:end].decode()

    def forget(self) -> None:
        """Forget what was read ahead."""
        self._ahead = io.BytesIO()

    def _more(self) -> bytes:
        data = self.arrived(self._room)
        if not data:
            raise _closed()
        if len(data) == self._room < _MOST:
            self._room *= 2
        return data

    def _completed(self, ahead: bytes, size: int) -> Union[bytes, bytearray]:
        if size < 0:
            raise ValueError(f"an answer can't have {size} bytes")
        if size - len(ahead) >= _MOST:
            return self._large(ahead, size)
        while len(ahead) < size:
            ahead += self._more()
        self._ahead = io.BytesIO(ahead)
        return self._ahead.read(size)

    def _large(self, ahead: bytes, size: int) -> bytearray:
        data = bytearray(size)
        data[: len(ahead)] = ahead
        view = memoryview(data)[len(ahead) :]
        while view:
            count = self.arrived_into(view)
            if not count:
                raise _closed()
            view = view[count:]
        return data


def _closed() -> ConnectionError:
    return ConnectionAbortedError("0 returned by socket")
