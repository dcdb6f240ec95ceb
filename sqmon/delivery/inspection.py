"""The inspection of one segment: its counts, its ranges of seq, and what is wrong with its lines."""

from __future__ import annotations

import operator
from itertools import islice
from typing import BinaryIO, Collection, Hashable, Iterator, NamedTuple, Optional

import msgspec

from sqmon.storage.checksum import Checksum
from sqmon.storage.source import Segment
from sqmon.storage.writer import Sealed

_CHUNK = 1 << 20  # bytes that are read at once
# A line begins with {"ts":"<30 characters>","seq":<digits>, so these places are fixed.
_TS = slice(7, 37)
_SEQ_AT = 45


class Span(NamedTuple):
    """Lines of one run whose seq follow each other without a hole."""

    run_id: str
    first_seq: int
    last_seq: int


class Fault(NamedTuple):
    """What is wrong with a line, and the seq of that line, or of the last one before it that has a seq."""

    kind: str
    """`broken` (it is not a record) or `backwards` (its `ts` is not later than that of the line before it)."""
    seq: int


class Inspected(NamedTuple):
    """What was found in a segment; `sealed` has the figures that a seal of it must have."""

    sealed: Sealed
    spans: list[Span]
    faults: list[Fault]
    first_ts: str
    last_ts: str
    """The `ts` of the first and the last record, empty when there is none."""
    record_bytes: int
    """The bytes of the records alone: neither their newlines, nor half a line, nor what is no record."""

    @property
    def records(self) -> int:
        """How many records there are."""
        return sum(span.last_seq - span.first_seq + 1 for span in self.spans)

    @property
    def seq_sum(self) -> int:
        """What the seq of all records add up to."""
        return sum((span.first_seq + span.last_seq) * (span.last_seq - span.first_seq + 1) // 2 for span in self.spans)


class Head(msgspec.Struct):
    """What is the same in every record, as far as proof needs it."""

    ts: str
    seq: int
    run_id: str


_decode = msgspec.json.Decoder(Head).decode


class Inspection:
    """What a segment holds, of which the pieces are given one after the other, as `chunks` yields them."""

    def __init__(self, *, thorough: bool) -> None:
        """Parse each line when that is to be `thorough`, or else only where something is wrong.

        A file that its seal proves to be as it was written needs no more than a look at the heads of its lines.
        """
        self._thorough = thorough
        self._checksum, self._lines, self._size, self._torn = Checksum(), _Lines(), 0, 0

    def take(self, piece: bytes) -> None:
        """Take whole lines, or at the end of the file half a line."""
        self._checksum.update(memoryview(piece))
        self._size += len(piece)
        if piece.endswith(b"\n"):
            self._lines.add(piece, thorough=self._thorough)
        else:
            self._torn += len(piece)

    def inspected(self, file: str) -> Inspected:
        """Return what was found in the segment of this name; nothing may be taken afterwards."""
        lines = self._lines
        first, last = (lines.spans[0].first_seq, lines.spans[-1].last_seq) if lines.spans else (0, 0)
        sealed = Sealed(file, lines.count, self._size, first, last, self._checksum.hexdigest(), self._torn)
        return Inspected(sealed, lines.spans, lines.faults, lines.first_ts, lines.last_ts, lines.record_bytes)


def inspect(segment: Segment, *, thorough: bool) -> Inspected:
    """Read a segment, see `Inspection`; raises OSError."""
    inspection = Inspection(thorough=thorough)
    for piece in chunks(segment):
        inspection.take(piece)
    return inspection.inspected(segment.name)


class Inspector:
    """Inspects segments, each of them anew only when it may have changed since the last time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], tuple[Hashable, Inspected]] = {}

    def forget_all_but(self, files: Collection[str]) -> None:
        """Forget the other segments, which are gone."""
        self._known = {key: known for key, known in self._known.items() if key[0] in files}

    def __call__(self, segment: Segment, *, thorough: bool) -> Inspected:
        """See `inspect`."""
        version, key = segment.version, (segment.name, thorough)
        known = self._known.get(key)
        if known is None or known[0] != version:
            known = self._known[key] = (version, inspect(segment, thorough=thorough))
        return known[1]


def chunks(segment: Segment) -> Iterator[bytes]:
    """Yield a segment in pieces of whole lines, and at its end what follows the last newline, if anything; raises OSError."""
    with segment.open() as file:
        yield from pieces(file)


def pieces(file: BinaryIO, most: Optional[int] = None) -> Iterator[bytes]:
    """Do the same for a file that is open, or for the next `most` bytes of it."""
    rest: list[bytes] = []
    while most is None or most > 0:
        data = file.read(_CHUNK if most is None else min(_CHUNK, most))
        if not data:
            break
        most = most if most is None else most - len(data)
        end = data.rfind(b"\n") + 1
        if end:
            yield b"".join((*rest, data[:end]))
            rest = []
        if end < len(data):
            rest.append(data[end:])
    if rest:
        yield b"".join(rest)


class _Lines:
    """The lines of a segment so far."""

    def __init__(self) -> None:
        self.count = 0
        self.spans: list[Span] = []
        self.faults: list[Fault] = []
        self.first_ts = ""
        self.last_ts = ""
        self.record_bytes = 0
        self._last_seq = 0

    def add(self, data: bytes, *, thorough: bool) -> None:
        """Take whole lines."""
        lines = data[:-1].split(b"\n")
        self.count += len(lines)
        if thorough or not self._add_at_once(lines):
            for line in lines:
                self._add(parsed(line), len(line))

    def _add_at_once(self, lines: list[bytes]) -> bool:
        """Take lines that are all well; return False when a single one might not be."""
        first, last = parsed(lines[0]), parsed(lines[-1])
        if first is None or last is None or first.run_id != last.run_id:
            return False
        stamps = [line[_TS] for line in lines]
        if _follow_each_other(lines, first.seq) and all(map(operator.lt, stamps, islice(stamps, 1, None))):
            self._note_ts(first)
            self._add_span(Span(first.run_id, first.seq, last.seq))
            self.last_ts, self._last_seq = last.ts, last.seq
            self.record_bytes += sum(map(len, lines))
            return True
        return False

    def _add(self, head: Optional[Head], size: int) -> None:
        if head is None:
            self.faults.append(Fault("broken", self._last_seq))
            return
        self._note_ts(head)
        self.last_ts, self._last_seq = head.ts, head.seq
        self.record_bytes += size
        self._add_span(Span(head.run_id, head.seq, head.seq))

    def _note_ts(self, head: Head) -> None:
        self.first_ts = self.first_ts or head.ts
        if head.ts <= self.last_ts:
            self.faults.append(Fault("backwards", head.seq))

    def _add_span(self, span: Span) -> None:
        last = self.spans[-1] if self.spans else None
        if last is not None and last.run_id == span.run_id and last.last_seq + 1 == span.first_seq:
            self.spans[-1] = last._replace(last_seq=span.last_seq)
        else:
            self.spans.append(span)


def _follow_each_other(lines: list[bytes], first_seq: int) -> bool:
    """Return whether the lines say that their seq are `first_seq` and those after it, where it stands in every line.

    The numbers are compared as text, all of those with as many digits at once.
    """
    start = 0
    while start < len(lines):
        digits = len(b"%d" % (first_seq + start))
        end = min(len(lines), 10**digits - first_seq)
        part = slice(_TS.stop, _SEQ_AT + digits + 1)
        expected = (b'","seq":%d,' * (end - start)) % (*range(first_seq + start, first_seq + end),)
        if b"".join([line[part] for line in lines[start:end]]) != expected:
            return False
        start = end
    return True


def parsed(line: bytes) -> Optional[Head]:
    """Return what a line says of itself, None when it is no record."""
    try:
        line.decode()  # what is not asked for is not decoded below
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
