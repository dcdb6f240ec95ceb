"""The inspection of a segment: a look at the heads of lines finds what parsing every line does."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sqmon.clock import utc_stamp
from sqmon.config.settings import SegmentOptions
from sqmon.delivery.inspection import Inspected, Inspection, inspect
from sqmon.storage.file_sources import DirectorySource
from tests.support.segment_files import Stream

NOON_NS = 1_795_521_600 * 10**9


def line(seq: int, tick: int) -> bytes:
    """Return the line of a record."""
    return b'{"ts":"%b","seq":%d,"metric":"m","run_id":"r","x":1}\n' % (utc_stamp(NOON_NS + tick).encode(), seq)


def looked(data: bytes, *, thorough: bool) -> Inspected:
    """Return what is found in the lines."""
    inspection = Inspection(thorough=thorough)
    inspection.take(data)
    return inspection.inspected("m/file")


@given(
    st.integers(0, 1100),
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 39), st.sampled_from(["gone", "twice", "later", "word", "broken"])), max_size=3),
)
def test_quick_look_finds_what_a_thorough_one_does(first: int, count: int, damages: list[tuple[int, str]]) -> None:
    """Whatever is wrong with numbers and times of a run, at any number of digits, both looks find the same."""
    lines = [line(first + place, place) for place in range(count)]
    for place, damage in damages:
        seq = first + place
        changed = {
            "gone": b"",
            "twice": line(seq, place) * 2,
            "later": line(seq, place + 5),
            "word": line(seq, place).replace(b'"seq":', b'"sex":'),
            "broken": b"{\n",
        }[damage]
        if place < count:
            lines[place] = changed
    data = b"".join(lines)

    assert not data or looked(data, thorough=True) == looked(data, thorough=False)


def test_segment_of_a_thousand_records_is_one_span(tmp_path: Path) -> None:
    """Numbers of one to four digits follow each other."""
    stream = Stream(tmp_path, SegmentOptions())
    stream.poll(1200)
    stream.writer.close()
    (segment,) = DirectorySource(tmp_path).segments("show_locks")
    found = inspect(segment, thorough=False)

    assert [(stream.run_id, 1, 1200)] == [tuple(span) for span in found.spans]
    assert [] == found.faults
    assert found == inspect(segment, thorough=True)
