"""The note about the last call that changed the server."""

from __future__ import annotations

from pathlib import Path

from sqmon.config.settings import Metric, SegmentOutput
from sqmon.worker.last_call import LastCall
from tests.support.clocks import FakeClock

RESET = Metric("reset_leveldb_stats", 3600.0, 10.0, "select reset_leveldb_stats();", is_command=True)


def test_next_call_is_an_interval_after_the_last(tmp_path: Path) -> None:
    """Whatever was restarted in between; without a last call it is due at once."""
    clock, output = FakeClock(), SegmentOutput(tmp_path)

    assert LastCall(RESET, output).wait(clock.time_ns()) == 0

    LastCall(RESET, output).made(clock.time_ns())
    clock.advance(600)

    assert LastCall(RESET, output).wait(clock.time_ns()) == 3000

    clock.advance(7200)

    assert LastCall(RESET, output).wait(clock.time_ns()) == 0


def test_clock_that_was_set_back_delays_by_an_interval_at_most(tmp_path: Path) -> None:
    """A call from the future counts as one of now."""
    clock, output = FakeClock(), SegmentOutput(tmp_path)
    LastCall(RESET, output).made(clock.time_ns())
    clock.step(-86400)

    assert LastCall(RESET, output).wait(clock.time_ns()) == 3600


def test_damaged_note_is_no_call(tmp_path: Path) -> None:
    """Then the call is due."""
    output = SegmentOutput(tmp_path)
    LastCall(RESET, output).made(1)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"soon")

    assert LastCall(RESET, output).wait(2) == 0
