"""The sources that are files on this host: a service's directory, segments on their own, and the single file of file-only mode."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import BinaryIO, Iterable, Optional

from sqmon.clock import STEP_NS
from sqmon.errors import SqmonError, reason_of
from sqmon.storage.archive import card_in, open_archive
from sqmon.storage.segment_names import ARCHIVE, ARCHIVED, NO_SEGMENT, SegmentName, all_segments, parsed, stored
from sqmon.storage.single_file_source import SingleFile
from sqmon.storage.source import Segment, Source, skip, tail_line

_ARCHIVED_NAME = re.compile(rf"(([a-z][a-z0-9_]*)-.+){re.escape(ARCHIVED)}", re.ASCII)
_COARSE_NS = 10**9


def _changed_ns(directory: Path) -> int:
    try:
        return directory.stat().st_mtime_ns
    except OSError:
        return 0


def source_at(path: Path) -> Source:
    """Return the source at a path: the directory of a service, one of segments, a bundle, a single file with its rotations, or a segment.

    Raises SqmonError when there is nothing that has lines.
    """
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir() raises where a directory on the way is closed to us
        loose = _segments_in(path)
        return LooseSegments(path, loose) if loose else DirectorySource(path)
    from sqmon.storage.bundle_source import BundleSource, is_bundle  # noqa: PLC0415 - the service never reads a bundle

    segment = _segment_at(path)
    try:
        bundled = is_bundle(path) and segment is None
    except OSError as error:
        raise SqmonError(f"{path}: can't be read: {reason_of(error)}") from None
    if bundled:
        return BundleSource(path)
    return LooseSegments(path, [segment]) if segment is not None else SingleFile(path)


class DirectorySource(Source):
    """The directory of a service: a directory for each stream, and one for the archives."""

    grows = True

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.name = str(log_dir)
        self._listed: dict[str, tuple[tuple[int, ...], list[Segment]]] = {}

    def streams(self) -> list[str]:
        """See Source."""
        return [*all_segments(self.log_dir)]

    def segments(self, stream: str) -> list[Segment]:
        """See Source; a directory that has not changed since the last call is not read again."""
        directory, archives = self.log_dir / stream, self.log_dir / ARCHIVE / stream
        changed = (_changed_ns(directory), _changed_ns(archives))
        known = self._listed.get(stream)
        if known is not None and known[0] == changed:
            return [*known[1]]
        found: list[Segment] = [
            _Kept(stream, f"{stream}/{name}", parsed(stream, name), directory / name, archives / f"{name}{ARCHIVED}")
            for name in stored(self.log_dir, stream)
        ]
        # The times of a directory are coarse: what was added right after this look must not go unnoticed.
        if max(changed) < time.time_ns() - _COARSE_NS:
            self._listed[stream] = (changed, found)
        return [*found]


class LooseSegments(Source):
    """Segments that somebody has taken out of the directory of a service, or its subdirectory of one stream."""

    def __init__(self, path: Path, segments: Iterable[_Kept]) -> None:
        self.name = str(path)
        self._segments: dict[str, list[_Kept]] = {}
        for segment in sorted(segments, key=lambda each: each.written):
            self._segments.setdefault(segment.stream, []).append(segment)

    def streams(self) -> list[str]:
        """See Source."""
        return sorted(self._segments)

    def segments(self, stream: str) -> list[Segment]:
        """See Source."""
        return [*self._segments.get(stream, ())]


class _Kept(Segment):
    """A segment that is known by its name, plain or compressed."""

    def __init__(self, stream: str, name: str, written: Optional[SegmentName], plain: Optional[Path], archive: Optional[Path]) -> None:
        self.stream, self.name = stream, name
        self.written = written or NO_SEGMENT
        self.born_ns = self.written.microseconds * 1000 or None
        self._plain, self._archive = plain, archive
        # What is known of an archive, which never changes.
        self._archived_by_ns: Optional[int] = None
        self._archived_last: Optional[bytes] = None

    @property
    def seekable(self) -> bool:
        """See Segment."""
        return self._plain is not None and self._plain.exists()

    @property
    def ended_by_ns(self) -> Optional[int]:
        """See Segment; an archive has the time of its segment. A file that is older than its name has lost its time."""
        if self._archived_by_ns is not None:
            return self._archived_by_ns
        for path in (self._plain, self._archive):
            with contextlib.suppress(OSError):
                if path is not None:
                    modified_ns = path.stat().st_mtime_ns
                    # A stamp may be ahead of the clock by as much as a step is not noticed.
                    ended_by_ns = modified_ns + STEP_NS if modified_ns >= (self.born_ns or 0) else None
                    if path is self._archive:
                        self._archived_by_ns = ended_by_ns
                    return ended_by_ns
        return None

    def size(self) -> int:
        """See Segment."""
        with contextlib.suppress(FileNotFoundError):
            if self._plain is not None:
                return self._plain.stat().st_size
        return card_in(self._in_archive()).bytes

    def open(self, offset: int = 0) -> BinaryIO:
        """See Segment."""
        try:
            file: BinaryIO = self._in_plain().open("rb")
        except FileNotFoundError:
            file = open_archive(self._in_archive())
        try:
            skip(file, offset)
        except BaseException:
            file.close()
            raise
        return file

    def last_line(self) -> bytes:
        """See Segment."""
        if self._archived_last is not None:
            return self._archived_last
        try:
            with self._in_plain().open("rb") as file:
                return tail_line(file.fileno())
        except FileNotFoundError:
            self._archived_last = card_in(self._in_archive()).last_line.encode()
            return self._archived_last

    def _in_plain(self) -> Path:
        if self._plain is None:
            raise FileNotFoundError
        return self._plain

    def _in_archive(self) -> Path:
        if self._archive is None:
            raise FileNotFoundError
        return self._archive


def _segments_in(directory: Path) -> list[_Kept]:
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names are all that is wanted
    except OSError as error:
        raise SqmonError(f"{directory}: can't be read: {reason_of(error)}") from None
    return [segment for segment in (_segment_at(directory / name) for name in names) if segment is not None]


def _segment_at(path: Path) -> Optional[_Kept]:
    """Return the segment at a path whose name is that of a segment or an archive."""
    archived = _ARCHIVED_NAME.fullmatch(path.name)
    name = archived[1] if archived else path.name
    stream = name.partition("-")[0]
    written = parsed(stream, name)
    if written is None:
        return None
    return _Kept(stream, f"{stream}/{name}", written, *((None, path) if archived else (path, None)))
