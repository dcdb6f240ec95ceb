"""The records of file-only mode as segments: of each file and metric one, so that a bundle holds the same whatever wrote it."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import BinaryIO, Iterator, NamedTuple, Optional

import msgspec

from sqmon.clock import stamp_ns
from sqmon.delivery.inspection import pieces
from sqmon.errors import SqmonError, reason_of
from sqmon.storage.bundle_manifest import Omission
from sqmon.storage.segment_names import SegmentName
from sqmon.storage.single_file import numbered

_METRIC = re.compile(r"[a-z][a-z0-9_]{0,99}")


class Segments(NamedTuple):
    """Segments that were made of files of file-only mode."""

    log_dir: Path
    taken_from: dict[str, str]
    """The file that each was made of."""
    omitted: list[Omission]


class _Head(msgspec.Struct):
    ts: str
    metric: str


_decode = msgspec.json.Decoder(_Head).decode


@contextlib.contextmanager
def as_segments(file: Path, place: Path) -> Iterator[Segments]:
    """Give the records of `file` and of its rotated predecessors as segments, below `place`, until the end of the context.

    Raises SqmonError when there are none, or when they can't be read or written.
    """
    with tempfile.TemporaryDirectory(prefix=".sqmon-bundle-", dir=place) as directory:
        made = Segments(Path(directory), {}, [])
        paths = [path for path in (numbered(file, number) for number in range(1000, -1, -1)) if path.is_file()]
        if not paths:
            raise SqmonError(f"{file}: is not there; give the --log_file_path of a service")
        for number, path in enumerate(paths, 1):
            _split(path, number, made)
        if not made.taken_from:
            raise SqmonError(f"{file}: has no records")
        yield made


def _split(path: Path, number: int, made: Segments) -> None:
    """Write the lines of one file to the segments of their metrics."""
    strange = 0
    try:
        with contextlib.ExitStack() as stack:
            records, outs = stack.enter_context(path.open("rb")), dict[str, BinaryIO]()
            for line in (line for piece in pieces(records) for line in piece.split(b"\n") if line):
                head = _head(line)
                if head is None:
                    strange += len(line) + 1
                    continue
                if head.metric not in outs:
                    segment = SegmentName(number, stamp_ns(head.ts) // 1000).text(head.metric)
                    made.taken_from[f"{head.metric}/{segment}"] = path.name
                    (made.log_dir / head.metric).mkdir(exist_ok=True)
                    outs[head.metric] = stack.enter_context((made.log_dir / head.metric / segment).open("wb"))
                outs[head.metric].write(line + b"\n")
    except OSError as error:
        raise SqmonError(f"{path}: can't be made into segments: {reason_of(error)}") from None
    if strange:
        made.omitted.append(Omission(file=path.name, reason="lines that are no records", bytes=strange))


def _head(line: bytes) -> Optional[_Head]:
    """Return what a line says of itself, None when it is no record."""
    with contextlib.suppress(msgspec.DecodeError, ValueError):
        head = _decode(line)
        stamp_ns(head.ts)
        return head if _METRIC.fullmatch(head.metric) else None
    return None
