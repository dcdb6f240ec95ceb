"""Reading streams back: every complete line of every segment in the order in which they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Collection, Iterator


def segments(log_dir: Path, metric: str) -> list[Path]:
    """Return the segments of one stream, oldest first; their names sort by time."""
    return sorted((log_dir / metric).glob(f"{metric}-*.jsonl"), key=lambda path: path.name)


class StreamReader:
    """Follows one stream through all its segments, like an agent: each line once, half-written ones not until they are whole."""

    def __init__(self, log_dir: Path, metric: str, *, skip: Collection[Path] = ()) -> None:
        self.torn = 0
        """Unfinished or broken lines in segments that nobody writes to any more."""
        self._log_dir = log_dir
        self._metric = metric
        self._done = set(skip)
        self._offsets: dict[Path, int] = {}

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the records that were added since the last call."""
        paths = [path for path in segments(self._log_dir, self._metric) if path not in self._done]
        for path in paths:
            offset = self._offsets.get(path, 0)
            with path.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    offset += len(line)
                    try:
                        yield json.loads(line)
                    except ValueError:
                        self.torn += 1
                else:
                    line = b""
            self._offsets[path] = offset
            # The next segment is opened before this one is closed, so this one is complete only when a later one has lines.
            if path is not paths[-1]:
                self._done.add(path)
                self.torn += bool(line)
