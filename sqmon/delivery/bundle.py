"""The making of a bundle: one file with all that a service has written within a window of time, for those who can't come to the site."""

from __future__ import annotations

import platform
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping, NamedTuple, Union

from sqmon import __version__
from sqmon.clock import utc_stamp
from sqmon.delivery.bundle_archive import Archive, FullError
from sqmon.delivery.bundle_choice import EVENTS, Choice, Chosen, Window, gaps, omission_of
from sqmon.delivery.bundle_masking import Masking
from sqmon.delivery.bundle_search import Secret, searched
from sqmon.delivery.inspection import Inspection, pieces
from sqmon.delivery.origin import Origin
from sqmon.errors import SqmonError, reason_of
from sqmon.storage.bundle_manifest import FORMAT, BundledFile, Kind, Manifest, Omission
from sqmon.storage.reader import opened
from sqmon.storage.seal import digest, stream_of
from sqmon.storage.writer import Sealed

FOREVER_NS = 1 << 62


class Extra(NamedTuple):
    """A small file that goes into the bundle beside the segments, as it is."""

    path: str
    kind: Kind
    content: bytes


@dataclass(frozen=True)
class Order:
    """What a bundle is to be like."""

    window: Window
    masking: Masking
    origin: Origin
    secrets: tuple[Secret, ...] = ()
    most_bytes: int = 0
    """0 for any size."""
    taken_from: Mapping[str, str] = field(default_factory=dict)
    """Of segments that were made of a file of file-only mode, that file."""


def directory_of(choice: Choice, origin: Origin) -> str:
    """Return what the directory of a bundle is called: where the records come from, from when, until when."""
    ends = (min(each.began_ns for each in choice.segments), max(each.ended_ns for each in choice.segments))
    times = "-".join(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(ns // 10**9)) for ns in ends)
    place = "-".join(part for part in (origin.cluster, origin.instance) if part)
    return f"sqmon-{re.sub(r'[^A-Za-z0-9._-]+', '_', place)[:80]}-{times}"


def bundle(
    log_dir: Path,
    choice: Choice,
    order: Order,
    path: Path,
    *,
    extras: Iterable[Extra] = (),
    omitted: Iterable[Omission] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Manifest:
    """Write a bundle, and return its manifest; `progress` is told of bytes that were read.

    The file gets its name when it is whole, on the disk, and found to hold none of the secrets; raises SqmonError when it is not to be.
    """
    now_ns = time.time_ns()
    left_out = [*choice.omitted, *omitted]
    try:
        with Archive(path, directory_of(choice, order.origin), most_bytes=order.most_bytes) as archive:
            files = [_extra(archive, extra, now_ns // 10**9) for extra in extras]
            for each in _packed(archive, log_dir, choice, order, progress):
                if isinstance(each, BundledFile):
                    files.append(each)
                else:
                    left_out.append(each)
            _refuse_empty(files, left_out)
            own = sorted(file.path for file in files if stream_of(file.path) == EVENTS)
            manifest = Manifest(
                format=FORMAT,
                directory=archive.directory,
                sqmon=__version__,
                python=platform.python_version(),
                made=utc_stamp(now_ns),
                **order.origin._asdict(),
                since=utc_stamp(order.window.since_ns) if order.window.since_ns else None,
                until=utc_stamp(order.window.until_ns) if order.window.until_ns < FOREVER_NS else None,
                sql=order.masking.mode,
                heads={stream_of(seal["file"]): digest(seal) for seal in choice.testimony.seals},
                gaps=[*gaps(log_dir, own, order.window)],
                omitted=sorted(left_out, key=lambda each: each.file),
                searched_for=len(order.secrets),
                files=files,
            )
            archive.write(manifest, mtime=now_ns // 10**9)
            if searched(archive.partial, order.secrets)[2:] == [(file.path, file.sha256) for file in files]:
                archive.publish()
                return manifest
    except OSError as error:
        raise SqmonError(f"{path}: can't be written: {reason_of(error)}") from None
    raise SqmonError(f"{path}: what was read back is not what was written; no bundle was made")


def _packed(
    archive: Archive, log_dir: Path, choice: Choice, order: Order, progress: Callable[[int], None]
) -> Iterator[Union[BundledFile, Omission]]:
    """Take the segments, the newest first, as long as there is room, and yield what became of each."""
    segments = iter(choice.segments)
    for each in segments:
        taken = _taken(archive, log_dir, each, order, progress)
        if taken is not None:
            yield taken
            continue
        for other in (each, *segments):
            yield omission_of(other, f"the bundle would be larger than {order.most_bytes / (1 << 20):g} MiB")


def _taken(
    archive: Archive, log_dir: Path, each: Chosen, order: Order, progress: Callable[[int], None]
) -> Union[BundledFile, Omission, None]:
    """Take a segment, and return it, or why it can't be taken, or None when there is no room for it."""
    try:
        return _segment(archive, log_dir, each, order, progress)
    except FullError:
        return None
    except FileNotFoundError:
        return omission_of(each, "deleted while the bundle was made")
    except _UnreadableError as error:
        return omission_of(each, f"can't be read: {error}")


def _refuse_empty(files: Iterable[BundledFile], left_out: Iterable[Omission]) -> None:
    """Raise SqmonError when there is not one segment."""
    if not any(file.kind == "segment" for file in files):
        reason = next((each.reason for each in left_out if each.file.endswith(".jsonl")), "there is none")
        raise SqmonError(f"no segment can be taken: {reason}")


class _UnreadableError(Exception):
    pass


def _extra(archive: Archive, extra: Extra, mtime: int) -> BundledFile:
    packed = archive.add(extra.path, [extra.content], mtime=mtime)
    return BundledFile(path=extra.path, kind=extra.kind, mtime=mtime, **packed._asdict())


def _segment(archive: Archive, log_dir: Path, each: Chosen, order: Order, progress: Callable[[int], None]) -> BundledFile:
    """Take a segment: as it is, or masked."""
    reading = _Reading(log_dir, each, order.masking, progress)
    mtime = each.ended_ns // 10**9
    packed = archive.add(each.file, reading.pieces(), mtime=mtime)
    found = reading.inspection.inspected(each.file)
    seal = None if each.seal is None else {key: each.seal.get(key) for key in (*Sealed._fields, "prev")}
    return BundledFile(
        path=each.file,
        kind="segment",
        mtime=mtime,
        lines=found.sealed.lines,
        torn_bytes=found.sealed.torn_bytes,
        first_seq=found.sealed.first_seq,
        last_seq=found.sealed.last_seq,
        first_ts=found.first_ts,
        last_ts=found.last_ts,
        seal=seal,
        rewritten=reading.rewritten,
        growing=each.seal is None,
        left_out_bytes=reading.left_out,
        taken_from=order.taken_from.get(each.file, ""),
        **packed._asdict(),
    )


class _Reading:
    """One segment on its way into a bundle."""

    def __init__(self, log_dir: Path, each: Chosen, masking: Masking, progress: Callable[[int], None]) -> None:
        self.inspection = Inspection(thorough=each.seal is None)
        self.rewritten = False
        self.left_out = 0
        self._path = log_dir / each.file
        # What is written from now on is left to the next bundle.
        self._most = each.bytes if each.seal is None else None
        self._masking = masking
        self._progress = progress

    def pieces(self) -> Iterator[bytes]:
        """Yield what goes into the bundle; raises FileNotFoundError and _UnreadableError."""
        try:
            segment = opened(self._path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _UnreadableError(reason_of(error)) from None
        with segment:
            origin = pieces(segment, self._most)
            while True:
                try:
                    piece = next(origin, b"")
                except OSError as error:
                    raise _UnreadableError(reason_of(error)) from None
                if not piece:
                    return
                self._progress(len(piece))
                kept = self._kept(piece)
                if kept:
                    self.inspection.take(kept)
                    yield kept

    def _kept(self, piece: bytes) -> bytes:
        if not piece.endswith(b"\n"):
            # Half a line can't be masked, and of a file that is being written the other half is on its way.
            if self._most is None and self._masking.mode == "full":
                return piece
            self.left_out += len(piece)
            self.rewritten = self.rewritten or self._most is None
            return b""
        kept = self._masking.lines(piece)
        self.rewritten = self.rewritten or kept != piece
        if kept.count(b"\n") < piece.count(b"\n"):
            self.left_out += sum(len(line) + 1 for line in self._masking.refused(piece))
        return kept
