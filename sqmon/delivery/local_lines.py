"""The records of one segment, as what Loki shows is compared with them."""

from __future__ import annotations

import bisect
import contextlib
import os
import shutil
import tempfile
from array import array
from typing import IO, Callable, Iterator, NamedTuple, Optional

from sqmon.clock import stamp_ns
from sqmon.delivery.inspection import Inspected, chunks, parsed
from sqmon.storage.source import Segment

_STAMP_LENGTH = 30


class Lines(NamedTuple):
    """Records that follow each other in the segment, by their places from 0: `first` to `last`, both included."""

    first: int
    last: int

    @property
    def total(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


class LocalLines:
    """Where each record of a segment is, and when it was made: 24 bytes a record."""

    def __init__(self, segment: Segment, inspected: Inspected) -> None:
        """Read the segment as far as it was inspected; raises OSError, and ValueError for a record whose `ts` is no time."""
        self.file = inspected.sealed.file
        self.spans = inspected.spans
        self.times = array("q")
        """The `ts` of each record in nanoseconds since 1970."""
        self._starts = array("q")
        self.ends = array("q")
        """The offset after each record and its newline."""
        self.longest = 1
        self._segment = segment
        offset, whole, second, second_ns = 0, inspected.sealed.bytes - inspected.sealed.torn_bytes, "", 0
        for data in chunks(segment):
            for line in data.split(b"\n")[:-1]:
                offset += len(line) + 1
                head = parsed(line) if offset <= whole else None
                if head is None:
                    continue
                if head.ts[:19] != second:
                    second, second_ns = head.ts[:19], stamp_ns(f"{head.ts[:19]}.000000000Z")
                self.times.append(second_ns + (int(head.ts[20:29]) if len(head.ts) == _STAMP_LENGTH else 0))
                self._starts.append(offset - len(line) - 1)
                self.ends.append(offset)
                self.longest = max(self.longest, len(line))

    def __len__(self) -> int:
        return len(self.times)

    def place(self, run_id: str, seq: int) -> Optional[int]:
        """Return the place of a record, None when it is not in the segment."""
        before = 0
        for span in self.spans:
            if span.run_id == run_id and span.first_seq <= seq <= span.last_seq:
                return before + seq - span.first_seq
            before += span.last_seq - span.first_seq + 1
        return None

    def place_at(self, ts_ns: int) -> Optional[int]:
        """Return the place of the record with this `ts`, None when there is none."""
        at = bisect.bisect_left(self.times, ts_ns)
        return at if at < len(self.times) and self.times[at] == ts_ns else None

    def between(self, start_ns: int, end_ns: int) -> Optional[Lines]:
        """Return the records from `start_ns` to `end_ns`, both included, None when there are none."""
        first, after = bisect.bisect_left(self.times, start_ns), bisect.bisect_right(self.times, end_ns)
        return Lines(first, after - 1) if first < after else None

    def seqs(self, lines: Lines) -> Iterator[tuple[str, int, int]]:
        """Yield run_id, first and last seq of each run of these records."""
        before = 0
        for span in self.spans:
            count = span.last_seq - span.first_seq + 1
            first, last = max(lines.first - before, 0), min(lines.last - before, count - 1)
            if first <= last:
                yield span.run_id, span.first_seq + first, span.first_seq + last
            before += count

    def size(self, lines: Lines) -> int:
        """Return the bytes of these records without their newlines."""
        part = slice(lines.first, lines.last + 1)
        return sum(self.ends[part]) - sum(self._starts[part]) - lines.total

    @contextlib.contextmanager
    def texts(self) -> Iterator[Callable[[int], bytes]]:
        """Give what reads the record at a place, without its newline; both raise OSError."""
        with contextlib.ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(self._segment.open())
            if not file.seekable():
                # An archive can only be read forwards.
                copy = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(file, copy)
                copy.flush()
                file = copy
            yield lambda place: os.pread(file.fileno(), self.ends[place] - self._starts[place] - 1, self._starts[place])


def ranges(places: list[int]) -> Iterator[Lines]:
    """Yield what follows each other among places that are given in order."""
    first = last = -1
    for place in places:
        if first >= 0 and place != last + 1:
            yield Lines(first, last)
            first = place
        elif first < 0:
            first = place
        last = place
    if first >= 0:
        yield Lines(first, last)
