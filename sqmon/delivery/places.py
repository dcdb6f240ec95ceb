"""The places whose lines can be proved: the directory of a service, a bundle, and a directory that a bundle was unpacked to."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple, Optional

import msgspec

from sqmon.config import small_file
from sqmon.delivery.inspection import Inspected
from sqmon.errors import SqmonError, reason_of
from sqmon.storage.bundle_manifest import NAME, BundledFile, Manifest
from sqmon.storage.bundle_reader import LARGEST_MANIFEST, Bundle
from sqmon.storage.bundle_source import BundleSource
from sqmon.storage.file_sources import DirectorySource, source_at
from sqmon.storage.seal import stream_of
from sqmon.storage.source import Segment, Source

_CHUNK = 1 << 20  # bytes that are read at once


class Place(NamedTuple):
    """A source, and what is known of how it came about."""

    source: Source
    manifest: Optional[Manifest]
    """None for the directory of a service."""
    bundle: Optional[Bundle]
    """None for a directory."""

    @property
    def packed(self) -> dict[str, BundledFile]:
        """What the manifest says of each segment."""
        return {file.path: file for file in self.manifest.files if file.kind == "segment"} if self.manifest else {}

    @property
    def left_out(self) -> set[str]:
        """The segments that are not here although nothing was lost."""
        return {each.file for each in self.manifest.omitted} if self.manifest else set()


def place_at(path: Path) -> Place:
    """Return what is at a path; raises SqmonError for anything else than a directory or a bundle."""
    if not path.is_file():
        return Place(DirectorySource(path), _manifest(path), None)
    source = source_at(path)
    if not isinstance(source, BundleSource):
        raise SqmonError(f"{path}: is neither the directory of a service nor a bundle")
    return Place(source, source.bundle.manifest, source.bundle)


def _manifest(directory: Path) -> Optional[Manifest]:
    """Return the manifest of a bundle that was unpacked there, None when none was; raises SqmonError for one that is damaged."""
    path = directory / NAME
    try:
        return msgspec.json.decode(small_file.read(path, LARGEST_MANIFEST), type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SqmonError(f"{path}: can't be read: {reason_of(error)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SqmonError(f"{path}: is not the manifest of a bundle, or is damaged") from None


def segments_at(path: Path, wanted: Iterable[Inspected]) -> dict[str, Segment]:
    """Return those of the segments that are still there."""
    source = place_at(path).source
    streams = sorted({stream_of(each.sealed.file) for each in wanted})
    return {segment.name: segment for stream in streams for segment in source.segments(stream)}


def damages(place: Place) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a bundle beside its segments: the file that it is about, and words."""
    if place.bundle is None or place.manifest is None:
        return
    try:
        for fault in place.bundle.faults():
            yield place.source.name, fault
    except OSError as error:
        yield place.source.name, reason_of(error)
    for file in place.manifest.files:
        if file.kind != "segment" and not _is_whole(place.bundle, file):
            yield file.path, "is not what the manifest says"


def _is_whole(bundle: Bundle, file: BundledFile) -> bool:
    sha256 = hashlib.sha256()
    try:
        with bundle.open(file) as content:
            while True:
                data = content.read(_CHUNK)
                if not data:
                    return sha256.hexdigest() == file.sha256
                sha256.update(data)
    except OSError:
        return False
