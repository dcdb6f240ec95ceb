"""Archives: sealed segments, compressed with zstandard.

An archive is an ordinary .zst file, whose content is that of the segment. At its end is a skippable frame, which every zstd
program passes over, with a card: what a reader needs to know of the segment without decompressing it. So a start of the
service, which must know the seals and the last polls of earlier services, needs no zstandard.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO, Optional

import msgspec

from sqmon.storage.knowledge import Knowledge, Unread
from sqmon.storage.segment_names import archive_of

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import WriteableBuffer

_CHUNK = 1 << 20
_MAGIC = 0x184D2A5D  # of a skippable frame; the last digit is for the user to choose
_FRAME = struct.Struct("<II")
_LENGTH = struct.Struct("<I")


class Card(msgspec.Struct, kw_only=True):
    """What is known of a segment without decompressing it."""

    bytes: int
    sha256: str
    last_line: str
    """The last whole line, as far as it is UTF-8."""
    knowledge: Knowledge
    """What was known of its way to Loki when it was compressed."""
    unread_bytes: int
    unread: Optional[Unread]
    events: list[str]
    """Of a segment of the `sqmon` stream the lines that a start of the service asks for: all but polls, and of those the last good one
    of each metric."""


def card_of(segment: Path) -> Card:
    """Return the card of the archive of a segment; raises OSError when there is none, or none that is whole."""
    return card_in(archive_of(segment))


def card_in(archive: Path) -> Card:
    """Return the card of an archive; raises as `card_of`."""
    with archive.open("rb") as file:
        return _card(file)


def _card(file: BinaryIO) -> Card:
    size = os.fstat(file.fileno()).st_size
    with contextlib.suppress(OSError, struct.error, zlib.error, msgspec.DecodeError, UnicodeDecodeError):
        file.seek(size - _LENGTH.size)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        file.seek(size - _LENGTH.size - length - _FRAME.size)
        magic, content = _FRAME.unpack(file.read(_FRAME.size))
        if magic == _MAGIC and content == length + _LENGTH.size:
            return msgspec.msgpack.decode(zlib.decompress(file.read(length)), type=Card)
    raise OSError(errno.EIO, "the archive is not whole: it has no card at its end")


def frame_of(card: Card) -> bytes:
    """Return what a card is at the end of an archive."""
    data = zlib.compress(msgspec.msgpack.encode(card))
    return _FRAME.pack(_MAGIC, len(data) + _LENGTH.size) + data + _LENGTH.pack(len(data))


def open_archive(path: Path) -> BinaryIO:
    """Open an archive to read the segment that is in it, forwards; raises OSError, as every read does where the archive is broken."""
    file = path.open("rb")
    try:
        card = _card(file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return io.BufferedReader(_Content(file, card.bytes), _CHUNK)


class _Content(io.RawIOBase):
    """The content of an archive."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        import zstandard  # noqa: PLC0415 - the supervisor and the workers never read an archive

        self._file = file
        self._broken = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False)
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        try:
            size = self._reader.readinto(memoryview(buffer).cast("B"))
        except self._broken as error:
            raise OSError(errno.EIO, f"the archive is broken: {error}") from None
        self._left -= size
        if self._left < 0 or (not size and self._left):
            raise OSError(errno.EIO, "the archive is broken: its content has another length than its card says")
        return size

    def close(self) -> None:
        self._file.close()
        super().close()
