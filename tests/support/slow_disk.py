"""A disk that stalls or fails when a test wants it to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.preload import library

_SOURCE = Path(__file__).with_suffix(".c")


class SlowDisk:
    """The disk of every program that starts while `monkeypatch` lasts: fsync, unlink and pwrite do as they are told."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Skip the test where no C compiler is at hand."""
        try:
            built = library(_SOURCE, place)
        except FileNotFoundError as error:
            pytest.skip(str(error))
        self._order = place / "slow_disk"
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("SLOW_DISK", str(self._order))
        monkeypatch.setenv("LD_PRELOAD", str(built))

    def stall(self, part: str, other: str = "") -> None:
        """Let every call on a path that contains `part`, or `other`, wait until `recover`."""
        self._tell(f"stall {part} {other}")

    def fail(self, part: str) -> None:
        """Let every call on a path that contains `part` fail with EIO until `recover`."""
        self._tell(f"fail {part}")

    def recover(self) -> None:
        """Answer as other disks do."""
        self._order.unlink()

    def _tell(self, order: str) -> None:
        fresh = self._order.with_suffix(".new")
        fresh.write_text(order, "ascii")
        fresh.replace(self._order)
