"""The files of a run, as its options describe them."""

from __future__ import annotations

from pathlib import Path

from sqmon.clock import SystemClock
from sqmon.config.settings import SegmentOptions, SegmentOutput
from sqmon.storage.reader import StreamReader
from sqmon.storage.streams import streams_of
from sqmon.supervisor.event_stream import STREAM, EventStream
from tests.support.program import wait_until


def test_smallest_segments_do_not_seal_each_other_without_end(tmp_path: Path) -> None:
    """Segments smaller than a line don't produce seals without end."""
    events = EventStream(streams_of(SegmentOutput(tmp_path, SegmentOptions(max_bytes=1))), "run", clock=SystemClock())
    for number in range(200):
        events.write("info", "check", text=f"{number}")
        events.tick()
    reader = StreamReader(tmp_path, STREAM)
    seen: list[str] = []

    def all_is_there() -> bool:
        events.tick()
        seen.extend(event["event"] for event in reader.read())
        return seen.count("check") == 200

    wait_until(all_is_there)
    events.close()
    seen.extend(event["event"] for event in reader.read())

    assert 5 < seen.count("segment_sealed") < 40
