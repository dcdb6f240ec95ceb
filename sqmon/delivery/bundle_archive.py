"""The archive of a bundle on its way: files are compressed into a nameless file, and get their manifest in front at the end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, NamedTuple

import zstandard

from sqmon.storage import bundle_format
from sqmon.storage.bundle_format import Trailer
from sqmon.storage.bundle_manifest import NAME, SUMS, Manifest, encoded
from sqmon.storage.permissions import create_file, sync_directory

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

_CHUNK = 1 << 20  # bytes that are copied at once
_BYTES_PER_FILE = 400  # that the manifest and SHA256SUMS take, compressed, for each file
_OWN_BYTES = 8 << 10


class FullError(Exception):
    """The file would make the bundle larger than it may be; it was left out."""


class Packed(NamedTuple):
    """What became of a file."""

    bytes: int
    sha256: str
    offset: int
    packed: int


class Archive:
    """A bundle that becomes the file at `path` when it is finished, and nothing when it is not.

    Until then it is in a file beside it, whose name begins with a dot, and in one without a name. Entering the context raises OSError.
    """

    def __init__(self, path: Path, directory: str, *, most_bytes: int) -> None:
        self.partial = path.with_name(f".{path.name}.partial")
        """Where the whole bundle is before it has its name."""
        self._path = path
        self.directory = directory
        """What unpacking makes."""
        self._most_bytes = most_bytes
        self._files = 0
        self._stack = contextlib.ExitStack()
        parameters = zstandard.ZstdCompressionParameters.from_level(
            bundle_format.LEVEL, window_log=bundle_format.WINDOW_LOG, write_checksum=True
        )
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters)

    def __enter__(self) -> Archive:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(FileNotFoundError):  # of a run that was killed
                self.partial.unlink()
            self._file = stack.enter_context(os.fdopen(create_file(self.partial, os.O_RDWR), "w+b"))
            stack.callback(self._forget)
            self._spool = stack.enter_context(tempfile.TemporaryFile(dir=self._path.parent))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _forget(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.partial.unlink()

    @property
    def size(self) -> int:
        """Bytes that the bundle will have, or a little less."""
        return self._spool.tell() + _OWN_BYTES + self._files * _BYTES_PER_FILE

    def add(self, path: str, pieces: Iterable[bytes], *, mtime: int) -> Packed:
        """Take a file, whose place is `path`; raises OSError, and FullError when there is no room for it."""
        start = self._spool.tell()
        try:
            return self._added(self._spool, path, pieces, mtime=mtime)
        except BaseException:
            self._spool.seek(start)
            self._spool.truncate()
            raise

    def _added(self, out: BinaryIO, path: str, pieces: Iterable[bytes], *, mtime: int) -> Packed:
        start, sha256, size = out.tell(), hashlib.sha256(), 0
        head = len(bundle_format.stored(bundle_format.header(self.directory, path, 0, mtime)))
        out.seek(start + head)
        stream = self._compressor.compressobj()
        for piece in pieces:
            size += len(piece)
            sha256.update(piece)
            out.write(stream.compress(piece))
            self._look_at_size(out)
        if size:
            out.write(stream.compress(bundle_format.padding(size)))
            out.write(stream.flush())
        self._look_at_size(out)
        end = out.tell()
        out.seek(start)
        out.write(bundle_format.stored(bundle_format.header(self.directory, path, size, mtime)))
        out.seek(end)
        self._files += 1
        return Packed(size, sha256.hexdigest(), start, end - start)

    def _look_at_size(self, out: Any) -> None:
        if self._most_bytes and out is self._spool and self.size > self._most_bytes:
            raise FullError

    def write(self, manifest: Manifest, *, mtime: int) -> None:
        """Write the whole bundle to `partial`; raises OSError."""
        content = encoded(manifest)
        # Its descriptor appends, as all files of the service do, so that what is written must be written in its order.
        with tempfile.TemporaryFile(dir=self._path.parent) as head:
            own = self._added(head, NAME, [content], mtime=mtime)
            self._added(head, SUMS, [bundle_format.sums(manifest, own.sha256)], mtime=mtime)
            base = head.tell()
            head.seek(0)
            shutil.copyfileobj(head, self._file, _CHUNK)
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, self._file, _CHUNK)
        self._file.write(self._compressor.compress(bundle_format.END))
        self._file.flush()
        self._file.seek(0)
        sha256 = hashlib.sha256()
        for data in iter(lambda: self._file.read(_CHUNK), b""):
            sha256.update(data)
        self._file.write(bundle_format.packed_trailer(Trailer(sha256.digest(), base)))
        self._file.flush()
        os.fsync(self._file.fileno())

    def publish(self) -> None:
        """Give the bundle its name; raises OSError."""
        self.partial.replace(self._path)
        sync_directory(self._path.parent)
