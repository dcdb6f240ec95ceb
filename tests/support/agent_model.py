"""What Alloy and Promtail do to files, as far as it can lose or double a line: positions by path, polls, drains."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from pathlib import Path
from typing import Optional

from sqmon.storage.agent_positions import read_positions
from tests.support import ROOT

_CONFIG = (ROOT / "alloy" / "config.alloy").read_text("utf-8")


def _setting(pattern: str) -> str:
    """What the shipped Alloy configuration says."""
    found = re.search(pattern, _CONFIG)
    assert found is not None, pattern
    return found[1]


GLOB = _setting(r'string\.format\("%s/([^"]+)", coalesce\(sys\.env\("SQMON_LOG_DIR"\)')  # below the log_dir
SYNC_S = float(_setting(r'sync_period\s*=\s*"(\d+)s"'))  # how often it is matched anew
FLUSH_S = 10.0  # how often the positions are saved
HEAD = 1024  # bytes by which a file is recognised after a change


class Tailer:
    """One file that is read; `offset` is the start of the first line that was not handed on."""

    def __init__(self, path: Path, offset: int) -> None:
        self.path = path
        self.file = path.open("rb")
        # An offset beyond the end is taken for a truncation, and reading goes on at the end: lines are skipped.
        self.offset = min(offset, os.fstat(self.file.fileno()).st_size)
        self.head = os.pread(self.file.fileno(), HEAD, 0)

    def lines(self) -> list[bytes]:
        """The whole lines since the last call."""
        data = os.pread(self.file.fileno(), 1 << 30, self.offset)
        end = data.rfind(b"\n") + 1
        self.offset += end
        return data[:end].split(b"\n")[:-1]

    def rest(self) -> list[bytes]:
        """Half a line at the end of a file that is left: it is handed on as if it were a line."""
        data = os.pread(self.file.fileno(), 1 << 30, self.offset)
        return [data] if data else []

    def has_moved(self) -> bool:
        """Whether the path leads elsewhere now, to another file, or to one that was cut."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(status, os.fstat(self.file.fileno())) or status.st_size < self.offset

    def reopened(self) -> Optional[Tailer]:
        """A tailer for what the path leads to now: from its start unless it begins like the file before."""
        self.file.close()
        try:
            fresh = Tailer(self.path, 0)
        except FileNotFoundError:
            return None
        if fresh.head[: len(self.head)] == self.head:
            fresh.offset = min(self.offset, os.fstat(fresh.file.fileno()).st_size)
        return fresh


class Agent:
    """Reads the files that match GLOB below `log_dir` into `received`; `turn` is one poll of 250 ms, time is given by the caller."""

    def __init__(self, log_dir: Path, positions_file: Path) -> None:
        self.received: Counter[bytes] = Counter()
        self.may_repeat: Counter[bytes] = Counter()  # what was read since the last flush before a kill
        self.stalled = False  # what it hands lines to doesn't take them
        self.running = False
        self._log_dir = log_dir
        self._positions_file = positions_file
        self._tailers: dict[Path, Tailer] = {}
        self._positions: dict[Path, int] = {}
        self._since_flush: Counter[bytes] = Counter()
        self._sync_due = self._flush_due = 0.0

    def start(self, now: float) -> None:
        """Start with the positions that were saved last."""
        self._positions = read_positions(self._positions_file) or {}
        self._sync_due, self._flush_due = now, now + FLUSH_S
        self.running = True

    def stop(self) -> None:
        """Stop in good order: positions are saved, nothing more is read."""
        self._flush()
        self._leave_all()

    def kill(self) -> None:
        """Stop at once: what was read since the last flush will be read again."""
        self.may_repeat += self._since_flush
        self._leave_all()

    def turn(self, now: float) -> None:
        """Read what is new in every file, unless stalled; match the pattern and save the positions when due."""
        if not self.running:
            return
        if not self.stalled:
            for path, tailer in list(self._tailers.items()):
                self._poll(path, tailer)
        if now >= self._sync_due:
            self._sync()
            self._sync_due = now + SYNC_S
        if now >= self._flush_due:
            self._flush()
            self._flush_due = now + FLUSH_S

    def _poll(self, path: Path, tailer: Tailer) -> None:
        self._hand_on(tailer.lines())
        if tailer.has_moved():
            self._hand_on([*tailer.lines(), *tailer.rest()])
            fresh = tailer.reopened()
            if fresh is None:
                del self._tailers[path]
                return
            self._tailers[path] = tailer = fresh
        self._positions[path] = tailer.offset

    def _hand_on(self, lines: list[bytes]) -> None:
        self.received.update(lines)
        self._since_flush.update(lines)

    def _sync(self) -> None:
        there = set(self._log_dir.glob(GLOB))
        for path in there - set(self._tailers):
            with contextlib.suppress(FileNotFoundError):
                self._tailers[path] = Tailer(path, self._positions.get(path, 0))
        for path in set(self._tailers) - there:  # the target is gone: no drain
            self._tailers.pop(path).file.close()

    def _flush(self) -> None:
        self._positions = {path: offset for path, offset in self._positions.items() if path.exists()}
        entries = [f"  ? path: {path}\n    labels: '{{}}'\n  : \"{offset}\"\n" for path, offset in self._positions.items()]
        self._positions_file.write_text("positions:\n" + "".join(entries))
        self._since_flush.clear()

    def _leave_all(self) -> None:
        for tailer in self._tailers.values():
            tailer.file.close()
        self._tailers.clear()
        self._since_flush.clear()
        self.running = False
