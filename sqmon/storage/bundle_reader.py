"""Reading of a bundle in place: its manifest, and each of its files without unpacking the others.

A bundle comes from elsewhere, so nothing in it is believed: not the names, not the sizes, and not how much little data may become.
"""

from __future__ import annotations

import errno
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Iterator, Optional

import msgspec

from sqmon.errors import SqmonError, reason_of
from sqmon.storage import bundle_format
from sqmon.storage.bundle_format import Trailer
from sqmon.storage.bundle_manifest import FORMAT, NAME, BundledFile, Manifest
from sqmon.storage.segment_names import parsed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 1 << 20  # bytes that are read at once
LARGEST_MANIFEST = 64 << 20
_LARGEST_END = 64
_LARGEST_WINDOW = 8 << 20
_RATIO, _SLACK = 2000, 1 << 20
"""No file may have more bytes than so many times those that it takes in the bundle; lines of ours have a hundredth of that."""
_OTHERS = {"status": "status.json", "metrics": "metrics_file.json", "positions": "agent_positions.json"}


class Bundle:
    """One bundle."""

    def __init__(self, path: Path) -> None:
        """Read the manifest; raises SqmonError when the file is no bundle, or when its beginning is damaged."""
        self.path = path
        try:
            with path.open("rb") as file:
                self._size = file.seek(0, io.SEEK_END)
                self.trailer = _trailer(file, self._size)
                # A bundle whose end was cut off is known by its beginning.
                self.manifest = _manifest(file, path)
        except OSError as error:
            raise SqmonError(f"{path}: can't be read: {reason_of(error)}") from None
        _check(path, self.manifest)
        self.segments: dict[str, BundledFile] = {file.path: file for file in self.manifest.files if file.kind == "segment"}
        """Each segment by its name relative to the log directory."""
        self.base = self.trailer.base if self.trailer else _base(path, self.manifest)
        """Where SHA256SUMS ends."""

    def open(self, file: BundledFile) -> BinaryIO:
        """Open a file of the bundle to be read forwards; raises OSError, as every read does where the bundle is broken."""
        head = bundle_format.stored(bundle_format.header(self.manifest.directory, file.path, file.bytes, file.mtime))
        raw = self.path.open("rb")
        try:
            raw.seek(self.base + file.offset)
            there = raw.read(len(head)) == head
        except BaseException:
            raw.close()
            raise
        if not there:
            raw.close()
            raise OSError(errno.EIO, "the bundle is broken: this file is not where its manifest says")
        return io.BufferedReader(_Content(raw, file.packed - len(head), file.bytes), _CHUNK)

    def faults(self) -> Iterator[str]:
        """Yield in words what is wrong with the file as a whole, apart from the content of its files; raises OSError."""
        if self.trailer is None:
            yield "its end is missing or is not that of a bundle"
            return
        sha256 = hashlib.sha256()
        with self.path.open("rb") as file:
            left = self._size - bundle_format.TRAILER_BYTES
            while left > 0:
                data = file.read(min(_CHUNK, left))
                if not data:
                    break
                sha256.update(data)
                left -= len(data)
        if sha256.digest() != self.trailer.sha256:
            yield "its SHA-256 is not that which stands at its end"
        end = self._size - bundle_format.TRAILER_BYTES - self.base - sum(file.packed for file in self.manifest.files)
        if not 0 < end <= _LARGEST_END:
            yield "it has more or less than the files of its manifest"


class _Slice(io.RawIOBase):
    """The next bytes of a file."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file = file
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self._file.read(max(0, min(len(view), self._left)))
        view[: len(data)] = data
        self._left -= len(data)
        return len(data)


class _Content(io.RawIOBase):
    """The content of one file."""

    def __init__(self, file: BinaryIO, packed: int, size: int) -> None:
        import zstandard  # noqa: PLC0415 - the supervisor and the workers never read a bundle

        self._file = file
        self._broken = zstandard.ZstdError
        decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        self._reader = decompressor.stream_reader(io.BufferedReader(_Slice(file, packed)), closefd=False)
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")[: self._left]
        if not view:
            return 0
        try:
            size = self._reader.readinto(view)
        except self._broken as error:
            raise OSError(errno.EIO, f"the bundle is broken: {error}") from None
        if not size:
            raise OSError(errno.EIO, "the bundle is broken: a file is shorter than its manifest says")
        self._left -= size
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def _trailer(file: BinaryIO, size: int) -> Optional[Trailer]:
    file.seek(max(0, size - bundle_format.TRAILER_BYTES))
    try:
        trailer = bundle_format.parsed_trailer(file.read())
    except ValueError:
        return None
    return trailer if 0 < trailer.base < size else None


def _manifest(file: BinaryIO, path: Path) -> Manifest:
    """Return the first file of the bundle."""
    import tarfile  # noqa: PLC0415 - only for a bundle

    import zstandard  # noqa: PLC0415 - as above

    file.seek(0)
    try:
        with zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).stream_reader(
            file, read_across_frames=True, closefd=False
        ) as data:
            head = tarfile.TarInfo.frombuf(data.read(bundle_format.BLOCK), "utf-8", "surrogateescape")
            wanted = head.name.endswith(f"/{NAME}") and head.size <= LARGEST_MANIFEST
            content = data.read(head.size) if wanted else b""
        manifest = msgspec.json.decode(content, type=Manifest)
    except (zstandard.ZstdError, tarfile.TarError, ValueError):
        raise SqmonError(f"{path}: is not a bundle of sqmon, or its beginning is damaged") from None
    if manifest.format > FORMAT:
        raise SqmonError(f"{path}: was made by sqmon {manifest.sqmon}, and this is too old to read it")
    return manifest


def _base(path: Path, manifest: Manifest) -> int:
    """Return where SHA256SUMS ends, of a bundle that has lost its end: right before the first file."""
    first = next(iter(manifest.files), None)
    if first is None:
        return 0
    head = bundle_format.stored(bundle_format.header(manifest.directory, first.path, first.bytes, first.mtime))
    with path.open("rb") as file:
        return max(0, file.read(LARGEST_MANIFEST).find(head))


def _check(path: Path, manifest: Manifest) -> None:
    """Raise SqmonError unless the manifest names only files that sqmon puts into a bundle, each once, one after the other."""
    place, seen = 0, set[str]()
    plain = "/" not in manifest.directory and manifest.directory not in ("", ".", "..") and manifest.directory.isprintable()
    for file in manifest.files:
        stream, _, name = file.path.partition("/")
        known = file.path == _OTHERS.get(file.kind) if file.kind != "segment" else parsed(stream, name) is not None
        sizes = (file.bytes, file.packed, file.lines, file.torn_bytes, file.first_seq, file.last_seq)
        if not (plain and known) or file.path in seen or file.offset != place or min(sizes) < 0:
            raise SqmonError(f"{path}: its manifest is not one that sqmon writes; it is damaged or forged")
        if file.bytes > _RATIO * file.packed + _SLACK:
            raise SqmonError(f"{path}: {file.path} would become {file.bytes} bytes of {file.packed}, so it is not unpacked")
        place += file.packed
        seen.add(file.path)
