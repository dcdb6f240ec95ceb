"""The queue of lines that wait because their file can't be written: bounded in memory, the oldest lines are dropped past the bound."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Callable

from sqmon.records.encoder import Batch
from sqmon.storage.writer import Dropped

if TYPE_CHECKING:
    from sqmon.clock import Clock

_MERGE_BYTES = 64 * 1024  # waiting batches are merged up to this size, which also means fewer writes later
_REPORT_S = 10.0  # while records are being dropped, they are reported this often instead of at each poll


class Backlog:
    """A queue of batches of one stream that drops its oldest whole records past `limit` bytes and reports them."""

    def __init__(self, limit: int, clock: Clock, on_dropped: Callable[[Dropped], None]) -> None:
        self.pending = 0  # bytes
        self.torn = 0  # bytes of the first line that are in the file already
        self._limit = limit
        self._clock = clock
        self._on_dropped = on_dropped
        self._batches: deque[Batch] = deque()
        self._last_seq = 0
        self._dropped: list[Dropped] = []  # not reported yet
        self._report_due = 0.0

    @property
    def settled_seq(self) -> int:
        """Every seq up to here has been written or reported as dropped."""
        unsettled = [dropped.first_seq for dropped in self._dropped[:1]]
        if self._batches:
            unsettled.append(self.head.first_seq)
        return min(unsettled, default=self._last_seq + 1) - 1

    @property
    def head(self) -> Batch:
        """The batch to be written next; only its first `torn` bytes, if any, are in the file."""
        return self._batches[0]

    def push(self, batch: Batch) -> None:
        """Take the batch as the newest; call `shrink` when it could not be written."""
        self._last_seq = batch.last_seq
        self.pending += len(batch.data)
        if len(self._batches) > 1:
            last = self._batches[-1]
            follows = last.last_seq + 1 == batch.first_seq and last.last_ts(len(last.data)) < batch.first_ts
            if follows and len(last.data) + len(batch.data) <= _MERGE_BYTES:
                self._batches[-1] = Batch(last.data + batch.data, last.lines + batch.lines, last.first_seq, batch.last_seq)
                return
        self._batches.append(batch)

    def written(self, size: int) -> int:
        """Forget `size` more bytes, which are in the file now; return how many lines they completed."""
        end = self.torn + size
        if end == len(self.head.data):
            self.torn = 0
            return self._forget_oldest().lines
        whole = self.head.data.rfind(b"\n", 0, end) + 1
        self.torn = end - whole
        return self._cut_head(whole).lines if whole else 0

    def shrink(self, reason: str, since_ns: int) -> None:
        """Drop the oldest whole records until the rest is within the limit; a torn line stays, because it has to be completed."""
        torn_line = self._take_lines(1) if self.torn else None
        while self.pending > self._limit and self._batches:
            excess = self.pending - self._limit
            self._note(reason, since_ns, self._take_lines(min(excess, len(self.head.data))))
        if torn_line is not None:
            self._batches.appendleft(torn_line)
            self.pending += len(torn_line.data)
        if self._dropped and self._clock.monotonic() >= self._report_due:
            self.report()

    def give_up(self, reason: str, since_ns: int) -> None:
        """Drop everything that waits and report it."""
        while self._batches:
            self._note(reason, since_ns, self._forget_oldest())
        self.torn = 0
        self.report()

    def report(self) -> None:
        """Report what has been dropped since the last report."""
        reported, self._dropped = self._dropped, []
        self._report_due = self._clock.monotonic() + _REPORT_S
        for dropped in reported:
            self._on_dropped(dropped)

    def _note(self, reason: str, since_ns: int, gone: Batch) -> None:
        now_ns = self._clock.time_ns()
        last = self._dropped[-1] if self._dropped else None
        if last is not None and last.last_seq + 1 == gone.first_seq and last.reason == reason:
            self._dropped[-1] = last._replace(until_ns=now_ns, last_seq=gone.last_seq)
        else:
            self._dropped.append(Dropped(reason, since_ns, now_ns, gone.first_seq, gone.last_seq))

    def _forget_oldest(self) -> Batch:
        gone = self._batches.popleft()
        self.pending -= len(gone.data)
        return gone

    def _cut_head(self, end: int) -> Batch:
        """Take the head's lines before byte `end`, the start of a line, out of the queue."""
        data, lines, first_seq, last_seq = self.head
        gone_lines = data.count(b"\n", 0, end)
        middle = first_seq + gone_lines
        self._batches[0] = Batch(data[end:], lines - gone_lines, middle, last_seq)
        self.pending -= end
        return Batch(data[:end], gone_lines, first_seq, middle - 1)

    def _take_lines(self, size: int) -> Batch:
        """Take at least `size` bytes of whole lines from the head."""
        end = self.head.data.index(b"\n", size - 1) + 1
        return self._forget_oldest() if end == len(self.head.data) else self._cut_head(end)
