"""Whether the files of a log directory are what the service wrote, and all of it: judged from the files alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple, NoReturn, Optional

from sqmon.delivery.inspection import Inspected, inspect
from sqmon.delivery.places import Place, damages, place_at
from sqmon.delivery.testimony import Testimony, untold
from sqmon.errors import SqmonError, reason_of
from sqmon.storage.bundle_manifest import BundledFile
from sqmon.storage.seal import breaks, digest, stream_of
from sqmon.storage.segment_names import in_order
from sqmon.storage.source import Segment
from sqmon.storage.writer import Sealed

_EVENTS = "sqmon"
Seal = Mapping[str, Any]
"""The event of a seal."""


class Problem(NamedTuple):
    """Something that no event explains."""

    kind: str
    """altered, missing, unreadable, broken, backwards, hole, repeated, unwritten, chain, sealed_twice, or damaged (a bundle)."""
    file: str
    """The segment, or the stream where no segment is left."""
    run_id: str
    first_seq: int
    last_seq: int
    text: str


class StreamVerdict(NamedTuple):
    """What the files of one stream hold."""

    stream: str
    segments: int
    unsealed: list[str]
    """Segments that nothing vouches for yet: the one that is written, and those of a service that was killed."""
    lines: int
    bytes: int
    torn_bytes: int
    lost: int
    """Records that are in no file, and of which the service has said so."""
    blind: int
    """How many times the metric was not polled for a while."""
    head: str
    """The SHA-256 of the newest seal, which vouches for all before it; what Loki has must be the same."""


class Verdict(NamedTuple):
    """The proof, or why there is none."""

    log_dir: str
    proved: bool
    streams: list[StreamVerdict]
    problems: list[Problem]
    found: list[Inspected]
    """Every segment as it was read."""


def verify(path: Path, inspector: Callable[..., Inspected] = inspect) -> Verdict:
    """Judge every segment of a directory or a bundle; raises SqmonError when there is none, or when it can't be read.

    A service may be running meanwhile: what it writes after the look at the directory is left to the next time.
    """
    place = place_at(path)
    source, packed = place.source, place.packed
    # First what is said, then what is there: nobody has spoken yet of a file that is made in between.
    testimony = Testimony()
    testimony.hear(source.segments(_EVENTS))
    testimony.deleted |= place.left_out
    listing = {stream: source.segments(stream) for stream in source.streams()}
    if not listing:
        _refuse(path)
    seals = {seal["file"]: seal for seal in testimony.seals}
    problems = [Problem("damaged", file, "", 0, 0, text) for file, text in damages(place)]
    problems += [*_twice(testimony), *_broken_chains(testimony)]
    streams: list[StreamVerdict] = []
    there: list[Inspected] = []
    for stream in sorted({*listing, *(target for target, _ in testimony.written)}):
        found: list[Inspected] = []
        for segment in listing.get(stream, []):
            inspected, problem = _judged(segment, seals.get(segment.name), packed.get(segment.name), inspector)
            problems += [problem] if problem else []
            found += [inspected] if inspected else []
        there += found
        problems += [*_faults(found), *_continuity(stream, found, testimony)]
        streams.append(_stream_verdict(stream, found, testimony, seals))
    seen = {*(each.sealed.file for each in there), *(problem.file for problem in problems if problem.kind == "unreadable")}
    listed = {segment.name for segments in listing.values() for segment in segments}
    problems += _missing(place, (listed | set(seals) | set(packed)) - seen, seals)
    return Verdict(str(path), not problems, streams, problems, there)


def _refuse(path: Path) -> NoReturn:
    try:
        os.scandir(path).close()
    except NotADirectoryError:
        raise SqmonError(f"{path}: there are no segments in this bundle") from None
    except OSError as error:
        raise SqmonError(f"{path}: can't be read: {reason_of(error)}") from None
    raise SqmonError(f"{path}: no segments here; give the --log_dir of a service")


def _figures(seal: Seal) -> dict[str, Any]:
    """Return what a seal says of a file; seals of older versions don't tell of half a line."""
    return {key: seal.get(key, 0) for key in Sealed._fields}


def _altered(seal: Seal, now: Sealed) -> Problem:
    if seal["sha256"] == now.sha256:
        text = "its seal gives other figures than the file has"
    elif seal["bytes"] != now.bytes:
        text = f"has {now.bytes} bytes, which were {seal['bytes']} when it was sealed"
    else:
        text = "its SHA-256 is not that of its seal"
    return Problem("altered", now.file, "", seal["first_seq"], seal["last_seq"], text)


def _judged(
    segment: Segment, seal: Optional[Seal], packed: Optional[BundledFile], inspect: Callable[..., Inspected]
) -> tuple[Optional[Inspected], Optional[Problem]]:
    """Return what a segment holds, None when it is gone or can't be read, and what is wrong with it as a whole."""
    try:
        inspected = inspect(segment, thorough=seal is None)
        problem = _bundled(inspected.sealed, seal, packed) if packed else None
        rewritten = packed is not None and packed.rewritten
        if not problem and seal is not None and not rewritten and _figures(seal) != _figures(inspected.sealed._asdict()):
            problem = _altered(seal, inspected.sealed)
        return (inspect(segment, thorough=True) if problem else inspected), problem
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, Problem("unreadable", segment.name, "", 0, 0, reason_of(error))


def _bundled(now: Sealed, seal: Optional[Seal], packed: BundledFile) -> Optional[Problem]:
    """Return how a segment is not as it was packed, or how what was packed can't be what was sealed."""
    ends = (packed.first_seq, packed.last_seq)
    if (now.bytes, now.sha256) != (packed.bytes, packed.sha256):
        return Problem("altered", now.file, "", *ends, "its SHA-256 is not that of the manifest")
    # Of masked text nothing can be proved, but the lines must be those that were sealed.
    lines = (seal["lines"], seal["first_seq"], seal["last_seq"]) if seal else (packed.lines, *ends)
    if packed.rewritten and not packed.left_out_bytes and lines != (now.lines, now.first_seq, now.last_seq):
        return Problem("altered", now.file, "", *ends, "has other lines than its seal says")
    return None


def _missing(place: Place, files: set[str], seals: Mapping[str, Seal]) -> list[Problem]:
    """Return those of the files that are gone without an event; retention may have deleted some while the others were read."""
    latest = Testimony()
    latest.hear(place.source.segments(_EVENTS) if files else [])
    problems = []
    for file in sorted(files - latest.deleted - place.left_out):
        first, last = (seals[file]["first_seq"], seals[file]["last_seq"]) if file in seals else (0, 0)
        problems.append(Problem("missing", file, "", first, last, "not there, and no event tells of its deletion"))
    return problems


def _stream_verdict(stream: str, found: list[Inspected], testimony: Testimony, seals: Mapping[str, Seal]) -> StreamVerdict:
    sealed = [each.sealed for each in found]
    own = [seal for seal in testimony.seals if stream_of(seal["file"]) == stream]
    return StreamVerdict(
        stream=stream,
        segments=len(sealed),
        unsealed=[each.file for each in sealed if each.file not in seals],
        lines=sum(each.lines for each in sealed),
        bytes=sum(each.bytes for each in sealed),
        torn_bytes=sum(each.torn_bytes for each in sealed),
        lost=sum(last - first + 1 for run, ranges in testimony.losses.items() if run[0] == stream for first, last in ranges),
        blind=testimony.blind.get(stream, 0),
        head=digest(own[-1]) if own else "",
    )


def _faults(found: list[Inspected]) -> Iterator[Problem]:
    texts = {"broken": "the line after this seq is not a record", "backwards": "its ts is not later than that of the line before it"}
    for each in found:
        for fault in each.faults:
            yield Problem(fault.kind, each.sealed.file, "", fault.seq, fault.seq, texts[fault.kind])


def _continuity(stream: str, found: list[Inspected], testimony: Testimony) -> Iterator[Problem]:
    """Yield what is missing between the lines of each run, or there twice, and what polls have written that is not there."""
    gone = testimony.gone(stream, [each.sealed.file for each in found])
    spans = [(each.sealed.file, span) for each in found for span in each.spans]
    ends: dict[str, tuple[int, str]] = {}
    for file, span in spans:
        end, _ = ends.get(span.run_id, (0, ""))
        # Of the oldest run, what came before may have gone with retention, and the events that told of it, too.
        if span.first_seq > end + 1 and (end or span.run_id != spans[0][1].run_id):
            for first, last in untold(end + 1, span.first_seq - 1, [*gone, *testimony.losses.get((stream, span.run_id), ())]):
                yield Problem("hole", file, span.run_id, first, last, "in no file, and no gap event tells why")
        elif span.first_seq <= end:
            yield Problem("repeated", file, span.run_id, span.first_seq, min(span.last_seq, end), "there more than once")
        ends[span.run_id] = (max(end, span.last_seq), file)
    for (target, run_id), written in testimony.written.items():
        end, file = ends.get(run_id, (0, stream))
        if target != stream or written <= end:
            continue
        left = untold(end + 1, written, [*gone, *testimony.losses.get((stream, run_id), ())])
        if not end:
            # Nothing is left of the run. The seals of its first segments may have gone with retention, but not that of its last.
            left = [each for each in left if each[1] == written]
        for first, last in left:
            yield Problem("unwritten", file, run_id, first, last, "written, as the event of their poll says, and in no file")


def _twice(testimony: Testimony) -> Iterator[Problem]:
    seen: dict[str, dict[str, Any]] = {}
    for seal in testimony.seals:
        if seen.setdefault(seal["file"], _figures(seal)) != _figures(seal):
            yield Problem("sealed_twice", seal["file"], "", seal["first_seq"], seal["last_seq"], "has two seals that contradict each other")


def _broken_chains(testimony: Testimony) -> Iterator[Problem]:
    """Yield every seal that is not chained to the one before it, or to what was said of it later.

    Events between the two that were lost or deleted explain that, where it is told.
    """
    for before, seal in breaks(testimony.seals):
        if not _explained(before, seal, testimony):
            text = f"its seal is not chained to that of {before['file']}, which stands before it"
            yield Problem("chain", seal["file"], "", seal["first_seq"], seal["last_seq"], text)

    for newest, head in testimony.astray:
        if not _explained(newest, head, testimony):
            text = f"at {head['ts']} there was a newer seal of {head['target']} than this one"
            yield Problem("chain", newest["file"], "", newest["first_seq"], newest["last_seq"], text)


def _explained(before: Seal, seal: Seal, testimony: Testimony) -> bool:
    lost = testimony.losses.get((_EVENTS, seal["run_id"]), ())
    if any(first < seal["seq"] and (before["run_id"] != seal["run_id"] or last > before["seq"]) for first, last in lost):
        return True
    places = [Path(testimony.places[each["run_id"], each["seq"]]).name for each in (before, seal)]
    deleted = {Path(file).name for file in testimony.deleted if stream_of(file) == _EVENTS}
    order = in_order(_EVENTS, {*deleted, *places})
    return bool(deleted.intersection(order[order.index(places[0]) : order.index(places[1])]))
