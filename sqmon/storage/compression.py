"""The compression of sealed segments: each is replaced by its archive, in a way that survives a kill at any moment."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Callable, Iterator, NamedTuple, Optional

from sqmon.records.encoder import MAX_LINE
from sqmon.storage.archive import Card, frame_of, open_archive
from sqmon.storage.knowledge import Knowledge, Unread
from sqmon.storage.permissions import create_file, make_directory, sync_directory
from sqmon.storage.segment_names import ARCHIVE, archive_of

_LEVEL, _WINDOW_LOG = 9, 22  # the window holds some polls of a thousand rows, which differ in little
_CHUNK = 1 << 20  # bytes that are read at once
_PARTIAL = ".partial"
_EVENTS = "sqmon"
_POLL, _TARGET = b'"event":"poll",', b'"target":"'
_GOOD = (b'"status":"ok"', b'"status":"empty"')


class Source(NamedTuple):
    """A segment that is to be compressed; `file` is relative to the log directory, and `bytes` and `sha256` are those of its seal."""

    file: str
    bytes: int
    sha256: str
    knowledge: Knowledge
    unread_bytes: int
    unread: Optional[Unread]


class AlteredError(Exception):
    """The segment is not what was sealed."""


def remove_partial(log_dir: Path) -> None:
    """Remove what a process that was killed has left half written."""
    for path in (log_dir / ARCHIVE).glob(f"*/.*{_PARTIAL}"):
        with contextlib.suppress(OSError):
            path.unlink()


def compress(log_dir: Path, source: Source, beat: Callable[[], None]) -> int:
    """Replace a segment by its archive, and return the archive's size; `beat` is called now and then.

    The segment goes only when its archive is on the disk, and was read back and found to be what the seal says. Raises OSError when that
    could not be done and AlteredError when the segment is not what was sealed; it is left as it was then.
    """
    segment = log_dir / source.file
    archive = archive_of(segment)
    if not _holds(archive, source, beat):
        _write(segment, archive, source, beat)
    size = archive.stat().st_size
    segment.unlink()
    return size


def _write(segment: Path, archive: Path, source: Source, beat: Callable[[], None]) -> None:
    directories = [path for path in (archive.parent.parent, archive.parent) if not path.is_dir()]
    for directory in directories:
        make_directory(directory)
    partial = archive.with_name(f".{archive.name}{_PARTIAL}")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    try:
        with segment.open("rb") as plain, os.fdopen(create_file(partial, os.O_WRONLY), "wb") as file:
            _compress(plain, file, source, beat)
            file.flush()
            status = os.fstat(plain.fileno())
            os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))  # its age is that of its last line
            os.fsync(file.fileno())
        _read_back(partial, source, beat)
        partial.replace(archive)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    for directory in (archive.parent, *(path.parent for path in reversed(directories))):
        sync_directory(directory)


def _compress(plain: BinaryIO, file: BinaryIO, source: Source, beat: Callable[[], None]) -> None:
    import zstandard  # noqa: PLC0415 - as above

    parameters = zstandard.ZstdCompressionParameters.from_level(_LEVEL, window_log=_WINDOW_LOG, write_checksum=True)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=source.bytes)
    sha256, size = hashlib.sha256(), 0
    events = _Events() if source.file.startswith(f"{_EVENTS}/") else None
    tail = b""
    for data in _chunks(plain):
        size += len(data)
        if size > source.bytes:
            break
        sha256.update(data)
        tail = (tail + data)[-2 * MAX_LINE :]
        if events is not None:
            events.take(data)
        file.write(stream.compress(data))
        beat()
    if size != source.bytes or sha256.hexdigest() != source.sha256:
        raise AlteredError
    file.write(stream.flush())
    card = Card(
        bytes=size,
        sha256=source.sha256,
        last_line=tail.rpartition(b"\n")[0].rpartition(b"\n")[2].decode("utf-8", "replace"),
        knowledge=source.knowledge,
        unread_bytes=source.unread_bytes,
        unread=source.unread,
        events=events.lines() if events is not None else [],
    )
    file.write(frame_of(card))


def _read_back(partial: Path, source: Source, beat: Callable[[], None]) -> None:
    if not _holds(partial, source, beat):
        raise OSError(errno.EIO, "what was written is not what was read back")


def _holds(archive: Path, source: Source, beat: Callable[[], None]) -> bool:
    """Whether the archive is there, whole, and has the content that the seal says."""
    sha256, size = hashlib.sha256(), 0
    try:
        with open_archive(archive) as file:
            for data in _chunks(file):
                sha256.update(data)
                size += len(data)
                beat()
    except OSError:
        return False
    return size == source.bytes and sha256.hexdigest() == source.sha256


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK), b"")


class _Events:
    """Those lines of the `sqmon` stream that a start of the service asks for."""

    def __init__(self) -> None:
        self._rest = b""
        self._count = 0
        self._kept: list[tuple[int, bytes]] = []
        self._polls: dict[bytes, tuple[int, bytes]] = {}
        self._last = (0, b"")

    def take(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for number, line in enumerate(lines, self._count):
            if _POLL not in line:
                self._kept.append((number, line))
            elif any(status in line for status in _GOOD):
                self._polls[line.partition(_TARGET)[2].partition(b'"')[0]] = (number, line)
            self._last = (number, line)
        self._count += len(lines)

    def lines(self) -> list[str]:
        """Return the lines in their order; the last one of all is among them, which says how long the service lived."""
        kept = dict([*self._kept, *self._polls.values(), self._last] if self._count else [])
        return [kept[number].decode("utf-8", "replace") for number in sorted(kept)]
