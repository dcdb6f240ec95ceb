"""The search for a time, and what is found wrong on the way."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqmon.clock import utc_stamp
from sqmon.config.settings import SegmentOptions
from sqmon.storage import seek
from sqmon.storage.file_sources import DirectorySource, source_at
from sqmon.storage.findings import Findings, Hole
from sqmon.storage.reader import StreamReader
from sqmon.storage.seek import Window, offset_of, within
from sqmon.storage.segment_names import SegmentName
from sqmon.storage.source import MIXED
from tests.storage.test_archive import archive
from tests.support.segment_files import Stream
from tests.support.segment_files import segments as files

NOON = 1_795_521_600 * 10**9
S = 10**9


def line(ns: int, seq: int, metric: str = "m", text: str = "", run: str = "r") -> bytes:
    """Return a line of that time."""
    return (
        json.dumps({"ts": utc_stamp(ns), "seq": seq, "metric": metric, "run_id": run, "text": text})
        .replace(": ", ":")
        .replace(", ", ",")
        .encode()
        + b"\n"
    )


def segment(log_dir: Path, number: int, born_ns: int, content: bytes, modified_ns: Optional[int] = None) -> Path:
    """Write a segment of the stream `m`; its time is that of its last line unless another is given."""
    (log_dir / "m").mkdir(exist_ok=True)
    path = log_dir / "m" / SegmentName(number, born_ns // 1000).text("m")
    path.write_bytes(content)
    if modified_ns is not None:
        os.utime(path, ns=(modified_ns, modified_ns))
    return path


def seqs(place: Path, since_s: Optional[float], until_s: Optional[float], stream: str = "m") -> list[int]:
    """Return the seq of the lines of a range of seconds after noon."""
    bounds = (None if bound is None else NOON + int(bound * S) for bound in (since_s, until_s))
    return [record["seq"] for record in StreamReader(source_at(place), stream, window=Window(*bounds)).read()]


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 5), min_size=1, max_size=80),
    cuts=st.sets(st.integers(0, 80), max_size=4),
    bounds=st.tuples(*[st.none() | st.integers(-3, 260)] * 2),
    copied=st.sampled_from([None, 0, NOON * 2]),
)
def test_range_of_time_is_what_a_look_at_each_line_finds(
    tmp_path_factory: pytest.TempPathFactory,
    gaps: list[int],
    cuts: set[int],
    bounds: tuple[Optional[int], Optional[int]],
    copied: Optional[int],
) -> None:
    """Exactly the lines come whose `ts` is within the range, from any number of segments, whatever the times of their files."""
    log_dir = tmp_path_factory.mktemp("logs")
    since, until = bounds
    at = NOON
    pieces: list[list[tuple[int, bytes]]] = [[]]
    for number, gap in enumerate(gaps):
        at += gap * S
        if number in cuts and pieces[-1]:
            pieces.append([])
        pieces[-1].append((at, line(at, number, text="x" * (7 * number))))
    for number, piece in enumerate(pieces, 1):
        # A poll takes a moment, so that its segment is made after the time of its first line.
        segment(
            log_dir, number, piece[0][0] + S // 2, b"".join(text for _, text in piece), piece[-1][0] + S // 2 if copied is None else copied
        )
    expected = [
        number
        for number, (ns, _) in enumerate(each for piece in pieces for each in piece)
        if (since is None or ns >= NOON + since * S) and (until is None or ns <= NOON + until * S)
    ]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seek, "_BLOCK", 400)
        assert expected == seqs(log_dir, since, until)


def test_only_segments_of_the_range_are_opened(tmp_path: Path) -> None:
    """Names and times of files leave out what has no line of the range; nothing of it is read."""
    for number in range(20):
        born = NOON + number * 60 * S
        segment(tmp_path, number, born, line(born, number), modified_ns=born + 59 * S)

    found = within(DirectorySource(tmp_path).segments("m"), Window(NOON + 605 * S, NOON + 700 * S))

    assert [f"-{number:06d}.jsonl" for number in (10, 11)] == [each.name[-13:] for each in found]


def test_bisecting_a_large_segment_reads_a_few_blocks() -> None:
    """To find a time among 20 MB takes at most two dozen reads."""
    data = b"".join(line(NOON + number * S, number, text="x" * 200) for number in range(70_000))
    reads = []

    def read(offset: int, size: int) -> bytes:
        reads.append(size)
        return data[offset : offset + size]

    offset = offset_of(read, len(data), NOON + 54_321 * S)

    assert 54_321 == json.loads(data[offset : data.index(b"\n", offset)])["seq"]
    assert len(reads) <= 24
    assert sum(reads) < 2_000_000


def test_clock_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    """A segment that was written by a wrong clock is found although a later one has an earlier name."""
    segment(tmp_path, 1, NOON, line(NOON, 1) + line(NOON + 7200 * S, 2), modified_ns=NOON + 7200 * S)
    segment(tmp_path, 2, NOON + 60 * S, line(NOON + 60 * S, 3), modified_ns=NOON + 60 * S)
    segment(tmp_path, 3, NOON + 90 * S, line(NOON + 90 * S, 4), modified_ns=NOON + 90 * S)

    assert [2] == seqs(tmp_path, 3600, None)
    assert [1, 3, 4] == seqs(tmp_path, 0, 3600)


def test_mixed_lines_are_each_looked_at(tmp_path: Path) -> None:
    """In a single file, a line of a slow poll stands behind later ones, and belongs to the range of its own time."""
    path = tmp_path / "all.jsonl"
    path.write_bytes(line(NOON + 20 * S, 1) + line(NOON + 5 * S, 2, "slow") + line(NOON + 21 * S, 3) + b'{"ts":"2026')

    assert [2] == seqs(path, 0, 10, "slow")
    assert [2] == seqs(path, 0, 10, MIXED)
    assert [1, 3] == seqs(path, None, None)


def test_half_a_line_is_waited_for_wherever_the_range_begins(tmp_path: Path) -> None:
    """A range that begins after everything that is there begins at the next line, not in the middle of the unfinished one."""
    whole = line(NOON + 100 * S, 2)
    path = segment(tmp_path, 1, NOON, line(NOON, 1) + whole[:9])
    reader = StreamReader(tmp_path, "m", window=Window(NOON + 50 * S))

    assert [] == list(reader.read())
    with path.open("ab") as file:
        file.write(whole[9:])
    assert [2] == [record["seq"] for record in reader.read()]


def test_reading_can_begin_at_the_end(tmp_path: Path) -> None:
    """Only what comes after is read, be it in the same segment or in the next."""
    path = segment(tmp_path, 1, NOON, line(NOON, 1) + b'{"ts"')
    reader = StreamReader(tmp_path, "m")
    position = reader.start_at_end()

    assert (position and position.offset, []) == (len(line(NOON, 1)), list(reader.read()))
    path.write_bytes(line(NOON, 1) + line(NOON + S, 2))
    segment(tmp_path, 2, NOON + 2 * S, line(NOON + 2 * S, 3))
    assert [2, 3] == [record["seq"] for record in reader.read()]


def test_what_is_missing_torn_or_unreadable_is_told_once(tmp_path: Path) -> None:
    """Holes in seq are found within segments and between them, per run; a broken archive and half a line are named."""
    segment(tmp_path, 1, NOON, line(NOON, 1) + line(NOON + S, 2) + line(NOON + 2 * S, 5) + b'{"ts')
    segment(tmp_path, 2, NOON + 3 * S, line(NOON + 3 * S, 6) + line(NOON + 4 * S, 1, run="other") + line(NOON + 5 * S, 3, run="other"))
    broken = tmp_path / "archive" / "m" / f"{SegmentName(3, (NOON + 9 * S) // 1000).text('m')}.zst"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"not zstandard")
    segment(tmp_path, 4, NOON + 10 * S, line(NOON + 10 * S, 4, run="other"))
    findings = Findings()

    assert [1, 2, 5, 6, 1, 3, 4] == [record["seq"] for record in StreamReader(tmp_path, "m", findings=findings).read()]
    assert [Hole("m", "r", 3, 4), Hole("m", "other", 2, 2)] == findings.holes
    assert 1 == findings.torn
    unreadable, torn, missing = findings.sentences()
    assert unreadable.startswith(f"m/{broken.name[:-4]}: can't be read to its end: ")
    assert torn == "1 line is torn or no record, and left out"
    assert missing == "m: 3 lines are missing (2 holes, the last one seq 2 of run other); `sqmon verify` tells whether an event explains it"


def test_archives_of_a_range_are_read_like_segments(tmp_path: Path) -> None:
    """What was compressed is found by time as well."""
    stream = Stream(tmp_path, SegmentOptions(max_bytes=3_000), metric="m")
    for _ in range(30):
        stream.poll(4)
        stream.clock.advance(10)
    stream.writer.close()
    plain = seqs(tmp_path, 95, 205)

    archive(tmp_path, *files(tmp_path)[:-1])

    assert [*range(41, 85)] == plain == seqs(tmp_path, 95, 205)
