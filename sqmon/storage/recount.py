"""The recount of a segment whose writer was killed before it could seal it: its lines, bytes and hash."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from sqmon.records.encoder import MAX_LINE
from sqmon.storage.writer import Sealed

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 20  # bytes that are read at once


class _Line(msgspec.Struct):
    seq: int = 0
    run_id: str = ""


def recounted(log_dir: Path, file: str) -> Sealed:
    """Return the seal that the writer of the segment would have given; raises OSError."""
    sha256, size, lines, whole = hashlib.sha256(), 0, 0, 0
    with (log_dir / file).open("rb") as segment:
        while True:
            data = segment.read(_CHUNK)
            if not data:
                break
            sha256.update(data)
            end = data.rfind(b"\n") + 1
            if end:
                lines += data.count(b"\n")
                whole = size + end
            size += len(data)
        first = _first(segment)
        segment.seek(max(0, whole - MAX_LINE))
        last = _parsed(segment.read(whole - segment.tell())[:-1].rpartition(b"\n")[2])
    return Sealed(file, lines, size, first.seq, last.seq, sha256.hexdigest(), size - whole)


def run_of(path: Path) -> str:
    """Return the `run_id` of the segment's first line, "" when there is none; raises OSError."""
    with path.open("rb") as segment:
        return _first(segment).run_id


def _first(segment: BinaryIO) -> _Line:
    segment.seek(0)
    return _parsed(segment.readline(MAX_LINE))


def _parsed(line: bytes) -> _Line:
    try:
        return msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Line()
