"""Faults of the host, injected into a real program: a wall clock that steps, an fsync that stalls or fails."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Optional

from tests.support.preload import library

_SOURCE = Path(__file__).with_name("faults.c")
_LAYOUT = struct.Struct("=qqq")


class HostFaults:
    """A preloaded library and the page of memory through which the programs that were started with `environ` learn what is wrong now."""

    def __init__(self, directory: Path) -> None:
        """Build the library in `directory`. Raises FileNotFoundError where there is no C compiler."""
        page = directory / "faults"
        page.write_bytes(bytes(_LAYOUT.size))
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _LAYOUT.size)
        self.environ = {"LD_PRELOAD": str(library(_SOURCE, directory)), "FAULTS": str(page)}
        self.clock_offset_s = 0.0

    def step_clock(self, seconds: float) -> None:
        """Let the wall clock step by so many seconds, back when below 0."""
        self.clock_offset_s += seconds
        struct.pack_into("=q", self._page, 0, int(self.clock_offset_s * 1e9))

    def fsync(self, *, sleep_s: float = 0.0, error: Optional[int] = None) -> None:
        """From now on fsync takes so long, and fails with this errno; without arguments it is well again."""
        struct.pack_into("=qq", self._page, 8, int(sleep_s * 1e9), error or 0)
