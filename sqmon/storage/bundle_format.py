"""The form of a bundle: a compressed tar, each of whose files can be read without unpacking the others.

Any tar with zstandard opens it. Each file is a zstandard frame that holds its tar header as it is, and another one with its compressed
content. The first two files are MANIFEST.json and SHA256SUMS. At the very end is a skippable frame, which tar never sees: the SHA-256 of
everything before it, and where SHA256SUMS ends, from where the manifest counts the places of the other files.
"""

from __future__ import annotations

import struct
import tarfile
from typing import NamedTuple

from sqmon.storage.bundle_manifest import NAME, Manifest

BLOCK = tarfile.BLOCKSIZE
END = b"\0" * (2 * BLOCK)
"""The end of a tar."""

LEVEL, WINDOW_LOG = 9, 22

_ZSTD = b"\x28\xb5\x2f\xfd"
_SINGLE_SEGMENT_TWO_BYTE_SIZE = 0x60
_SMALLEST, _LARGEST = 256, 65_791
_TRAILER = struct.Struct("<II32sQ")
_SKIPPABLE = 0x184D2A5E
TRAILER_BYTES = _TRAILER.size


class Trailer(NamedTuple):
    """What stands at the end of a bundle."""

    sha256: bytes
    """Of everything before."""
    base: int
    """Where SHA256SUMS ends."""


def header(directory: str, path: str, size: int, mtime: int) -> bytes:
    """Return the tar header of a file; its length depends on the name alone."""
    member = tarfile.TarInfo(f"{directory}/{path}")
    member.size, member.mtime, member.mode = size, mtime, 0o640
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def stored(data: bytes) -> bytes:
    """Return a zstandard frame that holds some hundred bytes, or some thousand, as they are."""
    if not _SMALLEST <= len(data) <= _LARGEST:
        raise ValueError(f"{len(data)} bytes don't fit")
    block = (len(data) << 3 | 1).to_bytes(3, "little")
    return _ZSTD + bytes([_SINGLE_SEGMENT_TWO_BYTE_SIZE]) + (len(data) - _SMALLEST).to_bytes(2, "little") + block + data


def padding(size: int) -> bytes:
    """Return what follows a file of this size in a tar."""
    return b"\0" * (-size % BLOCK)


def sums(manifest: Manifest, own_sha256: str) -> bytes:
    """Return the content of SHA256SUMS, for `sha256sum -c` in the bundle's directory."""
    listed = [(own_sha256, NAME), *((file.sha256, file.path) for file in manifest.files)]
    return "".join(f"{sha256}  {path}\n" for sha256, path in listed).encode()


def packed_trailer(trailer: Trailer) -> bytes:
    """Return the last bytes of a bundle."""
    return _TRAILER.pack(_SKIPPABLE, _TRAILER.size - 8, trailer.sha256, trailer.base)


def parsed_trailer(data: bytes) -> Trailer:
    """Return what the last bytes of a bundle say; raises ValueError when they are none."""
    if len(data) != _TRAILER.size:
        raise ValueError("too short")
    magic, length, sha256, base = _TRAILER.unpack(data)
    if magic != _SKIPPABLE or length != _TRAILER.size - 8:
        raise ValueError("no trailer")
    return Trailer(sha256, base)
