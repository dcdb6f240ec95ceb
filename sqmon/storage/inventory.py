"""The segments of a log directory that may be given up, and what is known of each."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple, Optional

from sqmon.records.encoder import MAX_LINE
from sqmon.storage.agent_positions import Positions
from sqmon.storage.archive import card_of
from sqmon.storage.knowledge import Knowledge, Unread
from sqmon.storage.segment_names import ARCHIVE, ARCHIVED, SegmentName, parsed

_SETTLED_NS = 600 * 10**9  # in which a running agent reads a segment that it has begun to its end, unless Loki is down


class Candidate(NamedTuple):
    """A segment that nobody writes to; `file` is its name relative to the log directory, in whichever form it is."""

    file: str
    path: Path
    """Of the segment, or of its archive."""
    archived: bool
    size: int
    """Bytes on the disk."""
    made: int
    """Microseconds since 1970."""
    number: int
    modified_ns: int
    newest: bool
    """Whether it is the newest of its metric that is not compressed."""
    knowledge: Knowledge
    """Of an archive only after `informed`."""
    read_bytes: int
    unread_bytes: int
    """At its end, that the agent isn't known to have read."""

    def unread(self) -> Optional[Unread]:
        """Return the records that the agent isn't known to have read; None when there is not one whole record among them."""
        if not self.unread_bytes:
            return None
        return _noted(str(self.path), self.modified_ns)[2] if self.archived else _unread(self)


class Stock(NamedTuple):
    """What a log directory holds."""

    candidates: list[Candidate]
    total: int
    """Bytes of all segments and archives, of those too that are no candidates."""


def take_stock(log_dir: Path, *, active: Collection[Path], positions: Optional[Positions], proved: Collection[Path]) -> Stock:
    """Look at all segments and archives of the directory.

    Candidates are neither the `active` ones nor anything that isn't a segment in its own metric's directory, or an archive in its place;
    links are not followed. Without `positions` every segment counts as read.
    """
    kept, seen = ({os.path.realpath(path) for path in paths} for paths in (active, proved))
    found: list[Candidate] = []
    total = 0
    streams = {entry.name for parent in (log_dir, log_dir / ARCHIVE) for entry in entries(parent) if entry.is_dir(follow_symlinks=False)}
    for stream in sorted(streams):
        segments: list[tuple[SegmentName, bool, os.DirEntry[str]]] = []
        for archived, directory in ((False, log_dir / stream), (True, log_dir / ARCHIVE / stream)):
            for entry in () if directory.is_symlink() else entries(directory):
                plain = entry.name.endswith(ARCHIVED) if archived else True
                name = parsed(stream, entry.name[: -len(ARCHIVED)] if archived else entry.name) if plain else None
                if name is not None and entry.is_file(follow_symlinks=False):
                    segments.append((name, archived, entry))
        segments.sort(key=lambda each: (each[0], not each[1]), reverse=True)
        # A segment is no younger than those that were written after it, whatever the clock said when it was made.
        made = modified_ns = 1 << 63
        newest, before = True, None
        for name, archived, entry in segments:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            total += status.st_size
            made, modified_ns = min(made, name.microseconds), min(modified_ns, status.st_mtime_ns)
            twice, before = before == name, name
            if archived:
                # While the segment itself is still there, it is the one that counts.
                if not twice:
                    file = f"{stream}/{entry.name[: -len(ARCHIVED)]}"
                    known = (Knowledge.PROVED if os.path.realpath(log_dir / file) in seen else Knowledge.READ, 0, 0)
                    found.append(Candidate(file, Path(entry.path), True, status.st_size, made, name.number, modified_ns, False, *known))
                continue
            is_newest, newest = newest, False
            real = os.path.realpath(entry.path)
            if real in kept:
                continue
            path = Path(entry.path)
            read = min(status.st_size, _read_bytes(positions, path, real)) if positions else status.st_size
            knowledge = Knowledge.PROVED if real in seen else _knowledge(path, read, status, positions)
            known = (knowledge, read, 0 if knowledge <= Knowledge.READ else status.st_size - read)
            file = f"{stream}/{entry.name}"
            found.append(Candidate(file, path, False, status.st_size, made, name.number, modified_ns, is_newest, *known))
    return Stock(found, total)


def informed(candidate: Candidate) -> Candidate:
    """Return the candidate with what was known when it was compressed, if it is an archive and no more has become known since."""
    if not candidate.archived or candidate.knowledge is Knowledge.PROVED:
        return candidate
    knowledge, unread_bytes, _ = _noted(str(candidate.path), candidate.modified_ns)
    return candidate._replace(knowledge=knowledge, unread_bytes=unread_bytes)


@functools.lru_cache(maxsize=4096)
def _noted(archive: str, modified_ns: int) -> tuple[Knowledge, int, Optional[Unread]]:
    del modified_ns  # an archive that was replaced is another one
    path = Path(archive)
    try:
        card = card_of(path.parent.parent.parent / path.parent.name / path.name[: -len(ARCHIVED)])
    except OSError:  # nothing can be read from it
        return Knowledge.READ, 0, None
    return card.knowledge, card.unread_bytes, card.unread


def _read_bytes(positions: Positions, path: Path, real: str) -> int:
    return max(positions.offsets.get(each, 0) for each in (path, path.absolute(), Path(real)))


def _knowledge(path: Path, read: int, status: os.stat_result, positions: Optional[Positions]) -> Knowledge:
    if positions is None or not _has_line(path, read, status.st_size):
        return Knowledge.READ
    if read and positions.written_ns - status.st_mtime_ns > _SETTLED_NS:
        return Knowledge.BEGUN
    return Knowledge.UNKNOWN


def _has_line(path: Path, start: int, size: int) -> bool:
    """Whether a whole line follows: half a line, left by a kill, is never read by anybody."""
    if start >= size or size - start > MAX_LINE:
        return start < size
    try:
        with path.open("rb") as file:
            file.seek(start)
            return b"\n" in file.read()
    except OSError:
        return True


def entries(path: Path) -> list[os.DirEntry[str]]:
    """Return what is in a directory, nothing when it can't be read."""
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:
        return []


def _unread(segment: Candidate) -> Optional[Unread]:
    """The records from the agent's position to the end; None when there is not one whole line."""
    try:
        with segment.path.open("rb") as file:
            file.seek(max(0, segment.read_bytes - 1))
            if segment.read_bytes:
                file.readline(MAX_LINE + 1)  # to the end of the line that it was in
            first = file.readline(MAX_LINE + 1)
            file.seek(max(file.tell() - len(first), segment.size - 2 * MAX_LINE))
            last = file.read(segment.size - file.tell()).rpartition(b"\n")[0].rpartition(b"\n")[2]
        return _between(segment.file.partition("/")[0], json.loads(first), json.loads(last))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _between(metric: str, first: dict[str, Any], last: dict[str, Any]) -> Unread:
    return Unread(metric, first["run_id"], first["ts"], last["ts"], first["seq"], last["seq"])
