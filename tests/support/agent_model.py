"""What Alloy and Promtail do to files, as far as it can lose or double a line: positions by path, polls, drains, stops.

Where the two differ, the model does what was seen of Alloy 1.18.1 and Promtail 3.4.6.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from pathlib import Path
from typing import Literal, NamedTuple, Optional

from sqmon.storage.agent_positions import NOTHING_KNOWN, read_positions
from tests.support import ROOT

_CONFIG = (ROOT / "alloy" / "config.alloy").read_text("utf-8")


def _setting(pattern: str) -> str:
    """What the shipped Alloy configuration says."""
    found = re.search(pattern, _CONFIG)
    assert found is not None, pattern
    return found[1]


Kind = Literal["alloy", "promtail"]
GLOB = _setting(r'string\.format\("%s/([^"]+)", coalesce\(sys\.env\("SQMON_LOG_DIR"\)')  # below the log_dir
SYNC_S = float(_setting(r'sync_period\s*=\s*"(\d+)s"'))  # how often it is matched anew
FLUSH_S = 10.0  # how often the positions are saved, and after which Alloy notes a new one for a file
HEAD = 1024  # bytes by which Alloy recognises a file after a change
QUEUE_LINES = 40  # that Alloy reads while Loki is away; really 10 MiB
DROPPED_AT_STOP = 4  # lines of a backlog that Alloy takes and never delivers when it is stopped


class _Taken(NamedTuple):
    """A line with the offset behind it."""

    end: int
    line: bytes


class Tailer:
    """One file that is read; `offset` is the start of the first line that was not handed on."""

    def __init__(self, path: Path, offset: int, kind: Kind) -> None:
        self.path = path
        self.file = path.open("rb")
        self.noted_at: Optional[float] = None  # when Alloy last noted a position
        self._kind: Kind = kind
        size = os.fstat(self.file.fileno()).st_size
        # An offset beyond the end is taken for a truncation. Alloy goes on at the end, so that lines are skipped.
        self.offset = offset if offset <= size else size if kind == "alloy" else 0
        self.head = os.pread(self.file.fileno(), HEAD, 0)

    def take(self, limit: int) -> list[_Taken]:
        """Return the next whole lines, `limit` at most."""
        taken: list[_Taken] = []
        fresh = os.fstat(self.file.fileno()).st_size - self.offset
        if fresh <= 0 or limit <= 0:
            return taken
        data = os.pread(self.file.fileno(), fresh, self.offset)
        for line in data[: data.rfind(b"\n") + 1].split(b"\n")[:-1][:limit]:
            self.offset += len(line) + 1
            taken.append(_Taken(self.offset, line))
        return taken

    def rest(self) -> list[bytes]:
        """Return half a line at the end of a file that is left, which Alloy hands on as if it were a line."""
        data = os.pread(self.file.fileno(), HEAD * HEAD, self.offset)
        return [data] if data and self._kind == "alloy" else []

    def between(self, start: int) -> list[bytes]:
        """Return the lines from `start` to where it has read."""
        return os.pread(self.file.fileno(), max(0, self.offset - start), start).split(b"\n")[:-1]

    def has_moved(self) -> bool:
        """Whether the path leads elsewhere now, to another file, or to one that was cut."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(status, os.fstat(self.file.fileno())) or status.st_size < self.offset

    def reopened(self) -> Optional[Tailer]:
        """Return a tailer for what the path leads to now: from its start unless Alloy finds that it begins like the file before."""
        self.file.close()
        try:
            fresh = Tailer(self.path, 0, self._kind)
        except FileNotFoundError:
            return None
        if self._kind == "alloy" and fresh.head[: len(self.head)] == self.head:
            fresh.offset = min(self.offset, os.fstat(fresh.file.fileno()).st_size)
        return fresh


class Agent:
    """Reads the files that match GLOB below `log_dir` into `received`; `turn` is one poll of 250 ms, time is given by the caller."""

    def __init__(self, log_dir: Path, positions_file: Path, kind: Kind = "alloy") -> None:
        self.received: Counter[bytes] = Counter()
        self.may_repeat: Counter[bytes] = Counter()  # what was read beyond the saved positions before a kill
        self.dropped: Counter[bytes] = Counter()  # what it has read, counts as read and never delivers
        self.stalled = False  # Loki is away
        self.running = False
        self._kind: Kind = kind
        self._log_dir = log_dir
        self._positions_file = positions_file
        self._tailers: dict[Path, Tailer] = {}
        self._positions: dict[Path, int] = {}
        self._queue: list[tuple[Path, _Taken]] = []
        self._sync_due = self._flush_due = 0.0

    def start(self, now: float) -> None:
        """Start with the positions that were saved last."""
        self._positions = dict((read_positions(self._positions_file) or NOTHING_KNOWN).offsets)
        self._sync_due, self._flush_due = now, now + FLUSH_S
        self.running = True

    def stop(self) -> None:
        """Stop in good order: positions are saved as they are, but Alloy delivers nothing of what it holds."""
        if self._kind == "alloy":
            for path, tailer in self._tailers.items():
                room = DROPPED_AT_STOP - len(self._queue)
                self._queue += [(path, taken) for taken in tailer.take(max(0, room))]
            self.dropped.update(taken.line for _, taken in self._queue)
        self._positions.update((path, tailer.offset) for path, tailer in self._tailers.items())
        self._flush()
        self._leave_all()

    def kill(self) -> None:
        """Stop at once: what was read beyond the saved positions will be read again."""
        saved = (read_positions(self._positions_file) or NOTHING_KNOWN).offsets
        # What it held is read again, unless its position lies behind it or its file is gone.
        self.dropped.update(taken.line for path, taken in self._queue if taken.end <= saved.get(path, 0) or not path.exists())
        for path, tailer in self._tailers.items():
            self.may_repeat.update(tailer.between(saved.get(path, 0)))
        self._leave_all()

    def turn(self, now: float) -> None:
        """Read what is new in every file, as far as Loki takes it; match the pattern and save the positions when due."""
        if not self.running:
            return
        if not self.stalled:
            self.received.update(taken.line for _, taken in self._queue)
            self._queue.clear()
        for path, tailer in list(self._tailers.items()):
            self._poll(path, tailer, now)
        if now >= self._sync_due:
            self._sync()
            self._sync_due = now + SYNC_S
        if now >= self._flush_due:
            self._flush()
            self._flush_due = now + FLUSH_S

    def _poll(self, path: Path, tailer: Tailer, now: float) -> None:
        self._read(path, tailer, now)
        if self.stalled or not tailer.has_moved():
            return
        self._read(path, tailer, now)
        self.received.update(tailer.rest())
        fresh = tailer.reopened()
        if fresh is None:
            del self._tailers[path]
        else:
            self._tailers[path] = fresh

    def _read(self, path: Path, tailer: Tailer, now: float) -> None:
        if not self.stalled:
            taken = tailer.take(1 << 30)
            self.received.update(each.line for each in taken)
        elif self._kind == "alloy":
            taken = tailer.take(QUEUE_LINES - len(self._queue))
            self._queue += [(path, each) for each in taken]
        else:
            return
        if taken and (tailer.noted_at is None or now - tailer.noted_at >= FLUSH_S):
            tailer.noted_at = now
            self._positions[path] = taken[0].end

    def _sync(self) -> None:
        there = set(self._log_dir.glob(GLOB))
        for path in there - set(self._tailers):
            with contextlib.suppress(FileNotFoundError):
                self._tailers[path] = Tailer(path, self._positions.get(path, 0), self._kind)
        for path in set(self._tailers) - there:  # the target is gone: no drain
            self._tailers.pop(path).file.close()

    def _flush(self) -> None:
        if self._kind == "promtail":
            self._positions.update((path, tailer.offset) for path, tailer in self._tailers.items())
        self._positions = {path: offset for path, offset in self._positions.items() if path.exists()}
        form = "  ? path: {}\n    labels: '{{}}'\n  : \"{}\"\n" if self._kind == "alloy" else '  {}: "{}"\n'
        entries = [form.format(path, offset) for path, offset in self._positions.items()]
        self._positions_file.write_text("positions:\n" + "".join(entries))

    def _leave_all(self) -> None:
        for tailer in self._tailers.values():
            tailer.file.close()
        self._tailers.clear()
        self._queue.clear()
        self.running = False
