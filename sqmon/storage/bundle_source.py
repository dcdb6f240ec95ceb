"""Bundles as sources: their segments are read where they are, as those of a directory."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import BinaryIO, Hashable, Optional

from sqmon.clock import STEP_NS, stamp_ns
from sqmon.storage.bundle_manifest import BundledFile
from sqmon.storage.bundle_reader import Bundle
from sqmon.storage.seal import stream_of
from sqmon.storage.segment_names import in_order, parsed
from sqmon.storage.source import Segment, Source, skip

_TAIL = 1 << 16  # bytes, in which there is at least one whole line
_CHUNK = 1 << 20
_MAGIC = b"\x28\xb5\x2f\xfd"


def is_bundle(path: Path) -> bool:
    """Return whether a file begins as a bundle does; raises OSError."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


class BundleSource(Source):
    """The segments of a bundle."""

    def __init__(self, path: Path) -> None:
        """Read the manifest; raises SqmonError when the file is no bundle."""
        self.bundle = Bundle(path)
        self.name = str(path)

    def streams(self) -> list[str]:
        """See Source."""
        return sorted({stream_of(path) for path in self.bundle.segments})

    def segments(self, stream: str) -> list[Segment]:
        """See Source."""
        names = in_order(stream, (path.partition("/")[2] for path in self.bundle.segments if stream_of(path) == stream))
        return [_Bundled(self.bundle, self.bundle.segments[f"{stream}/{name}"]) for name in names]


class _Bundled(Segment):
    """A segment of a bundle."""

    def __init__(self, bundle: Bundle, file: BundledFile) -> None:
        self._bundle, self._file = bundle, file
        self.stream, self.name = stream_of(file.path), file.path
        written = parsed(self.stream, file.path.partition("/")[2])
        self.born_ns = written.microseconds * 1000 if written else None

    @property
    def version(self) -> Hashable:
        """See Segment; a bundle never changes."""
        return self._file.sha256

    @property
    def ended_by_ns(self) -> Optional[int]:
        """See Segment."""
        with contextlib.suppress(ValueError):
            return stamp_ns(self._file.last_ts) + STEP_NS
        return None

    def size(self) -> int:
        """See Segment."""
        return self._file.bytes

    def open(self, offset: int = 0) -> BinaryIO:
        """See Segment."""
        file = self._bundle.open(self._file)
        try:
            skip(file, offset)
        except BaseException:
            file.close()
            raise
        return file

    def last_line(self) -> bytes:
        """See Segment."""
        tail = b""
        with self.open() as file:
            for data in iter(lambda: file.read(_CHUNK), b""):
                tail = (tail + data)[-_TAIL:]
        return tail[: tail.rfind(b"\n") + 1][:-1].rpartition(b"\n")[2]
