"""The sources that are files on this host: a service's directory, the single file of file-only mode, and segments on their own."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path
from typing import BinaryIO, Hashable, Iterable, Optional

from sqmon.clock import STEP_NS
from sqmon.errors import SqmonError
from sqmon.storage.archive import card_in, open_archive
from sqmon.storage.bundle_source import BundleSource, is_bundle
from sqmon.storage.reader import all_segments, skip
from sqmon.storage.segment_names import ARCHIVE, ARCHIVED, NO_SEGMENT, SegmentName, parsed, stored
from sqmon.storage.source import MIXED, Segment, Source, tail_line

_ARCHIVED_NAME = re.compile(rf"(([a-z][a-z0-9_]*)-.+){re.escape(ARCHIVED)}", re.ASCII)


def source_at(path: Path) -> Source:
    """Return the source at a path: the directory of a service, one of segments, a bundle, a single file with its rotations, or a segment.

    Raises SqmonError when there is nothing that has lines.
    """
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir() raises where a directory on the way is closed to us
        loose = _segments_in(path)
        return LooseSegments(path, loose) if loose else DirectorySource(path)
    segment = _segment_at(path)
    try:
        bundled = is_bundle(path) and segment is None
    except OSError as error:
        raise SqmonError(f"{path}: can't be read: {error.strerror or error}") from None
    if bundled:
        return BundleSource(path)
    return LooseSegments(path, [segment]) if segment is not None else SingleFile(path)


class DirectorySource(Source):
    """The directory of a service: a directory for each stream, and one for the archives."""

    grows = True

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.name = str(log_dir)

    def streams(self) -> list[str]:
        """See Source."""
        return [*all_segments(self.log_dir)]

    def segments(self, stream: str) -> list[Segment]:
        """See Source."""
        directory, archives = self.log_dir / stream, self.log_dir / ARCHIVE / stream
        return [
            _Kept(stream, f"{stream}/{name}", parsed(stream, name), directory / name, archives / f"{name}{ARCHIVED}")
            for name in stored(self.log_dir, stream)
        ]


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


class SingleFile(Source):
    """The file of file-only mode and what it has become by rotation: PATH.7 .. PATH.1, PATH. A file with another name stands alone."""

    grows = True

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = Path(os.path.realpath(path))

    def streams(self) -> list[str]:
        """See Source."""
        return [MIXED]

    def segments(self, stream: str) -> list[Segment]:
        """See Source; the files have lines of any stream."""
        del stream
        before, found = None, self._look()
        while before is None or [segment.key for segment in before] != [segment.key for segment in found]:
            before, found = found, self._look()  # a rotation in the middle of a look may have hidden a file
        return [*found]

    def _look(self) -> list[_Rotated]:
        found = []
        for path in reversed(_rotations(self._path)):
            with contextlib.suppress(OSError):
                found.append(_Rotated(self._path, path.name, path.stat()))
        return found


class _Kept(Segment):
    """A segment that is known by its name, plain or compressed."""

    def __init__(self, stream: str, name: str, written: Optional[SegmentName], plain: Optional[Path], archive: Optional[Path]) -> None:
        self.stream, self.name = stream, name
        self.written = written or NO_SEGMENT
        self.born_ns = self.written.microseconds * 1000 or None
        self._plain, self._archive = plain, archive

    @property
    def seekable(self) -> bool:
        """See Segment."""
        return self._plain is not None and self._plain.exists()

    @property
    def ended_by_ns(self) -> Optional[int]:
        """See Segment; an archive has the time of its segment."""
        for path in (self._plain, self._archive):
            with contextlib.suppress(OSError):
                if path is not None:
                    # A stamp may be ahead of the clock by as much as a step is not noticed.
                    return path.stat().st_mtime_ns + STEP_NS
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
        try:
            with self._in_plain().open("rb") as file:
                return tail_line(file.fileno())
        except FileNotFoundError:
            return card_in(self._in_archive()).last_line.encode()

    def _in_plain(self) -> Path:
        if self._plain is None:
            raise FileNotFoundError
        return self._plain

    def _in_archive(self) -> Path:
        if self._archive is None:
            raise FileNotFoundError
        return self._archive


class _Rotated(Segment):
    """A file with the lines of all streams, which rotations rename."""

    stream = MIXED

    def __init__(self, newest: Path, name: str, status: os.stat_result) -> None:
        self.name = name
        self._newest = newest
        self._status = status

    @property
    def seekable(self) -> bool:
        """See Segment."""
        return True

    @property
    def key(self) -> Hashable:
        """See Segment."""
        return self._status.st_dev, self._status.st_ino

    @property
    def ended_by_ns(self) -> Optional[int]:
        """See Segment."""
        with contextlib.suppress(OSError), self.open() as file:
            return os.fstat(file.fileno()).st_mtime_ns + STEP_NS
        return None

    def size(self) -> int:
        """See Segment."""
        with self.open() as file:
            return os.fstat(file.fileno()).st_size

    def open(self, offset: int = 0) -> BinaryIO:
        """See Segment; the file may have another name by now."""
        for path in (self._newest.with_name(self.name), *_rotations(self._newest)):
            with contextlib.suppress(FileNotFoundError):
                file = path.open("rb")
                if os.path.samestat(os.fstat(file.fileno()), self._status):
                    file.seek(offset)
                    return file
                file.close()
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name)

    def last_line(self) -> bytes:
        """See Segment."""
        with self.open() as file:
            return tail_line(file.fileno())


def _rotations(path: Path) -> list[Path]:
    """Return the file and what it has become by rotation, the newest first; raises nothing, whatever the directory is."""
    name = re.compile(rf"{re.escape(path.name)}\.([1-9]\d*)", re.ASCII)
    found: dict[int, Path] = {}
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            match = name.fullmatch(entry.name)
            if match is not None and entry.is_file():
                found[int(match[1])] = Path(entry.path)
    return [path, *(found[number] for number in sorted(found))]


def _segments_in(directory: Path) -> list[_Kept]:
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names are all that is wanted
    except OSError as error:
        raise SqmonError(f"{directory}: can't be read: {error.strerror or error}") from None
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
