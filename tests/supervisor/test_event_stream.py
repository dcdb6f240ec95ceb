"""The service's own stream on a disk that does not answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sqmon.storage.reader import StreamReader
from tests.support import ROOT
from tests.support.slow_disk import SlowDisk

WRITES_TOO_MUCH = """
import sys
from pathlib import Path
from sqmon import logs
from sqmon.clock import SystemClock
from sqmon.config.settings import SegmentOptions, SegmentOutput
from sqmon.storage.streams import streams_of
from sqmon.supervisor.event_stream import EventStream
from tests.support.program import wait_until

logs.configure("error")
log_dir, order = Path(sys.argv[1]), Path(sys.argv[2])
streams, told = streams_of(SegmentOutput(log_dir, SegmentOptions(max_bytes=1 << 20))), []
events = EventStream(streams, "run", clock=SystemClock(), listener=lambda event, _: told.append(event))
for number in range(500):  # 15 MB: the end of the first segment is an fsync, which stalls
    events.write("info", "poll", number=number, text="x" * 30_000)
order.unlink()
wait_until(lambda: events.tick() or "gap" in told)
for number in range(20):
    events.write("info", "poll", number=500 + number)
events.close()
"""


def test_events_without_room_are_one_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk stalls writing never waits, and one gap names exactly the events that found no room."""
    SlowDisk(tmp_path, monkeypatch).stall("logs/sqmon/")

    subprocess.run([sys.executable, "-c", WRITES_TOO_MUCH, str(tmp_path / "logs"), str(tmp_path / "slow_disk")], cwd=ROOT, check=True)

    events = list(StreamReader(tmp_path / "logs", "sqmon").read())
    (gap,) = [event for event in events if event["event"] == "gap"]
    missing = range(gap["first_seq"], gap["last_seq"] + 1)
    assert (gap["target"], gap["target_run_id"], gap["reason"]) == ("sqmon", "run", "the disk does not answer")
    assert len(missing) > 100
    assert [event["seq"] for event in events] == [seq for seq in range(1, events[-1]["seq"] + 1) if seq not in missing]
    assert [event["number"] for event in events if "number" in event][-1] == 519
