"""The writer of segments, the files of one stream: each has its final name from the start, grows, and is then sealed."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Callable, Optional

from sqmon.config.settings import SegmentOptions
from sqmon.errors import reason_of
from sqmon.storage.buffered_writer import BufferedWriter
from sqmon.storage.segment import Segment, drop_current, open_segment, point_current
from sqmon.storage.segment_names import NO_SEGMENT
from sqmon.storage.writer import Dropped, Sealed

if TYPE_CHECKING:
    from pathlib import Path

    from sqmon.clock import Clock

_FSYNC_S = 5.0

# After these errors the segment itself is sound: the same bytes may fit later.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EAGAIN})


class SegmentWriter(BufferedWriter):
    """The only writer of one stream's segments, in `log_dir/<metric>/`.

    The first line opens a segment. The callbacks may append to this same writer, except when `close` calls them.
    """

    def __init__(
        self,
        log_dir: Path,
        metric: str,
        options: SegmentOptions,
        *,
        clock: Clock,
        on_sealed: Callable[[Sealed], None],
        on_dropped: Callable[[Dropped], None],
    ) -> None:
        super().__init__(metric, options.buffer_bytes, clock=clock, on_dropped=on_dropped)
        self._log_dir = log_dir
        self._metric = metric
        self._options = options
        self._on_sealed = on_sealed
        self._segment: Optional[Segment] = None
        self._newest = NO_SEGMENT

    @property
    def path(self) -> Optional[Path]:
        """The active segment."""
        return self._segment.path if self._segment else None

    def tick(self) -> None:
        """Retry what is waiting, seal a segment that is too old, and fsync when that is due."""
        self._flush()
        segment, now = self._segment, self._clock.monotonic()
        if segment is None:
            return
        segment.pause()
        if self._backlog.torn:
            return
        if now - segment.opened_at >= self._options.max_age_s:
            self._seal(segment)
        elif self._options.fsync == "interval" and now - segment.synced_at >= _FSYNC_S:
            self._sync(segment)

    def close(self) -> None:
        """Try one last time, report what could not be written, and seal the active segment."""
        self._finish()
        if self._segment:
            self._seal(self._segment)

    def _look(self) -> None:
        if self._segment and not self._segment.is_ours():
            self._abandon(self._segment)

    def _write_some(self) -> None:
        """Write as many whole lines as fit into the segment with one call, or go on to the next segment; raises OSError."""
        head, torn = self._backlog.head, self._backlog.torn
        data = head.data
        segment = self._segment or self._open_next()
        if head.first_ts <= segment.last_ts and not torn:
            segment = self._open_next()  # the clock was set back, and within a segment `ts` increases
        end = len(data)
        room = max(0, self._options.max_bytes - segment.size + torn)
        if end > room:
            end = data.rfind(b"\n", torn, room) + 1
            if not end:  # not a single line fits
                end = data.index(b"\n") + 1
                if segment.size and not torn:
                    if self._rotate():
                        return
                    end = len(data)
        try:
            size = segment.write(memoryview(data)[torn:end])
        except OSError as error:
            if error.errno not in _NO_ROOM and segment.size:
                self._abandon(segment)
            raise
        segment.last_ts = head.last_ts(torn + size)
        segment.count(self._backlog.written(size), head.first_seq)

    def _rotate(self) -> bool:
        """Go on to the next segment; return False if none can be created, because a long file is better than a lost line."""
        try:
            self._open_next()
        except OSError as error:
            self._warning = f"no new segment: {reason_of(error)}"
            return False
        return True

    def _open_next(self) -> Segment:
        """Open the next segment, then seal the active one; raises OSError."""
        previous = self._segment
        self._segment, self._newest = open_segment(self._log_dir, self._metric, self._newest, self._clock)
        self._warning = ""
        point_current(self._log_dir, self._metric, self._segment.path)
        if previous:
            self._seal(previous)
        return self._segment

    def _sync(self, segment: Segment) -> None:
        try:
            segment.sync(self._clock.monotonic())
        except OSError as error:
            self._warning = f"{segment.path.name} may not survive a power loss: {reason_of(error)}"

    def _seal(self, segment: Segment) -> None:
        if self._options.fsync != "never" and segment.size:
            self._sync(segment)
        self._leave(segment)
        if segment.size:
            self._report(segment)

    def _abandon(self, segment: Segment) -> None:
        """Leave a segment that can no longer be appended to; a line that is half in it is written again as a whole."""
        self._backlog.torn = 0
        fate = segment.fate()
        self._leave(segment)
        if not fate and segment.size:
            self._report(segment)
        now_ns = self._clock.time_ns()
        for first_seq, last_seq in segment.ranges if fate else ():
            self._on_dropped(Dropped(fate, now_ns, now_ns, first_seq, last_seq))

    def _leave(self, segment: Segment) -> None:
        segment.close()
        if self._segment is segment:
            self._segment = None
            drop_current(self._log_dir, self._metric, segment.path)

    def _report(self, segment: Segment) -> None:
        first_seq, last_seq = (segment.ranges[0][0], segment.ranges[-1][1]) if segment.ranges else (0, 0)
        file = f"{self._metric}/{segment.path.name}"
        self._on_sealed(Sealed(file, segment.lines, segment.size, first_seq, last_seq, segment.sha256, segment.torn))
