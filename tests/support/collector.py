"""Everything that was ever written below a log directory, read like an agent that keeps a file open when it is moved or removed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import IO, Any

Range = tuple[int, int]
Identity = tuple[int, int]

_REMOVED_SECONDS = 30.0  # longer than any pause in which a process may not have noticed that its segment is gone


class Collector:
    """Counts the lines of all segments, and keeps the service's events; a context manager, since it keeps files open.

    A removed file stays open only for as long as somebody may still write to it: until then it occupies an inode and bytes of a small disk.
    """

    def __init__(self, log_dir: Path) -> None:
        self.seen: Counter[tuple[str, str, int]] = Counter()
        """How often each line is there, by metric, run and seq."""
        self.events: list[dict[str, Any]] = []
        self._log_dir = log_dir
        self._files: dict[Identity, IO[bytes]] = {}
        self._rest: dict[Identity, bytes] = {}
        self._removed: dict[Identity, float] = {}

    def read(self) -> None:
        """Take in what is new in every file that is there or was there at an earlier call."""
        for path in self._log_dir.glob("*/*.jsonl"):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if _identity(path.stat()) not in self._files:
                    file: IO[bytes] = path.open("rb")
                    if self._files.setdefault(_identity(os.fstat(file.fileno())), file) is not file:
                        file.close()
        for identity, file in self._files.items():
            *lines, self._rest[identity] = (self._rest.get(identity, b"") + file.read()).split(b"\n")
            for line in lines:
                self._take(line)
            if lines or os.fstat(file.fileno()).st_nlink:
                self._removed.pop(identity, None)
            else:
                self._removed.setdefault(identity, time.monotonic())
        for identity in [each for each, since in self._removed.items() if time.monotonic() - since > _REMOVED_SECONDS]:
            self._files.pop(identity).close()  # the next file may get the same identity
            del self._rest[identity], self._removed[identity]

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def newest_event(self) -> int:
        """Return how many events there are, for `polled`."""
        self.read()
        return len(self.events)

    def polled(self, after: int) -> set[str]:
        """Return the metrics that were polled without an error since the first `after` events."""
        self.read()
        return {event["target"] for event in self.events[after:] if event["event"] == "poll" and event["status"] in ("ok", "empty")}

    def doubled(self) -> list[tuple[tuple[str, str, int], int]]:
        """Return the lines that are there more than once."""
        return [(key, times) for key, times in self.seen.items() if times > 1]

    def unexplained(self) -> list[tuple[str, str, Range]]:
        """Return the ranges of seq that no file holds and no `gap` names, up to the last that is known to have been made."""
        made: dict[tuple[str, str], int] = defaultdict(int)
        there: dict[tuple[str, str], set[int]] = defaultdict(set)
        for metric, run_id, seq in self.seen:
            made[metric, run_id] = max(made[metric, run_id], seq)
            there[metric, run_id].add(seq)
        for event in self.events:
            if event["event"] in ("poll", "gap") and event.get("last_seq") is not None:
                run = event["target"], event["target_run_id"]
                made[run] = max(made[run], event["last_seq"])
                if event["event"] == "gap":
                    there[run].update(range(event["first_seq"], event["last_seq"] + 1))
        found: list[tuple[str, str, Range]] = []
        for (metric, run_id), last in made.items():
            missing = sorted(set(range(1, last + 1)) - there[metric, run_id])
            starts = [seq for seq in missing if seq - 1 not in {*missing}]
            ends = [seq for seq in missing if seq + 1 not in {*missing}]
            found += [(metric, run_id, ends_of) for ends_of in zip(starts, ends)]
        return found

    def _take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            return  # half a line of a process that was killed; its seq is missed where it matters
        self.seen[record["metric"], record["run_id"], record["seq"]] += 1
        if record["metric"] == "sqmon":
            self.events.append(record)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
