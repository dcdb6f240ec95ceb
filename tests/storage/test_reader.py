"""Reading streams back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqmon.storage import look_back
from sqmon.storage.look_back import BackwardReader, events
from sqmon.storage.reader import StreamReader, segments
from sqmon.storage.segment_names import all_segments


def segment(log_dir: Path, number: int) -> Path:
    """Return the path of one segment of the stream `m`."""
    (log_dir / "m").mkdir(exist_ok=True)
    return log_dir / "m" / f"m-20261124T15305{number}.000000Z-{number:06d}.jsonl"


def test_lines_come_once_and_in_order_across_segments(tmp_path: Path) -> None:
    """Each line is read once, and older segments come first."""
    reader = StreamReader(tmp_path, "m")
    segment(tmp_path, 1).write_bytes(b'{"seq":1}\n{"seq":2}\n')

    assert [1, 2] == [record["seq"] for record in reader.read()]

    with segment(tmp_path, 1).open("ab") as file:
        file.write(b'{"seq":3}\n')
    segment(tmp_path, 2).write_bytes(b'{"seq":4}\n')

    assert [3, 4] == [record["seq"] for record in reader.read()]
    assert [] == list(reader.read())


def test_unfinished_line_waits_and_is_torn_when_nobody_ends_it(tmp_path: Path) -> None:
    """Half a line is not read, and counts as torn once a later segment shows that nobody will complete it."""
    reader = StreamReader(tmp_path, "m")
    segment(tmp_path, 1).write_bytes(b'{"seq":1}\n{"se')

    assert ([1], 0) == ([record["seq"] for record in reader.read()], reader.torn)

    segment(tmp_path, 2).write_bytes(b'{"seq":9}\n')

    assert ([9], 1) == ([record["seq"] for record in reader.read()], reader.torn)


def test_file_that_was_deleted_meanwhile_is_passed_over(tmp_path: Path) -> None:
    """A segment that retention deletes between listing and reading is passed over."""
    reader = StreamReader(tmp_path, "m")
    for number in (1, 2):
        segment(tmp_path, number).write_bytes(b'{"seq":%d}\n' % number)
    reading = reader.read()

    assert {"seq": 1} == next(reading)

    segment(tmp_path, 2).unlink()

    assert [] == list(reading)


def test_only_segments_are_listed(tmp_path: Path) -> None:
    """Other files in the directory of a stream are no segments, whatever their names, and other directories are no streams."""
    mine = [segment(tmp_path, number) for number in (1, 2)]
    os.mkfifo(segment(tmp_path, 3))
    segment(tmp_path, 4).mkdir()
    segment(tmp_path, 5).symlink_to(mine[0])
    for path in (
        *mine,
        tmp_path / "m" / "m-note.jsonl",
        tmp_path / "m" / "x-20261124T153051.000000Z-000001.jsonl",
        tmp_path / "status.json",
    ):
        path.touch()
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "m").symlink_to(mine[-1])

    assert (mine, {"m": [path.name for path in mine]}) == (segments(tmp_path, "m"), all_segments(tmp_path))
    assert ([], {}) == (segments(tmp_path, "absent"), all_segments(tmp_path / "absent"))


@given(
    lines=st.lists(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=8), max_size=4),
    torn=st.booleans(),
    chunk=st.integers(1, 12),
    bound=st.integers(0, 200),
)
def test_backwards_is_forwards_reversed(
    tmp_path_factory: pytest.TempPathFactory, lines: list[list[bytes]], torn: bool, chunk: int, bound: int
) -> None:
    """Whatever the lines are and however the reads fall, each whole line comes, newest first, until the bound is reached."""
    log_dir = tmp_path_factory.mktemp("logs")
    paths = [segment(log_dir, number) for number in range(len(lines))]
    for path, own in zip(paths, lines):
        path.write_bytes(b"".join(line + b"\n" for line in own) + b"torn" * torn)
    expected = [line for own in lines for line in own][::-1]
    size = sum(path.stat().st_size for path in paths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(look_back, "_CHUNK", chunk)
        patch.setattr(look_back, "_BLOCK", 0)
        whole, cut = BackwardReader(paths[::-1], max_bytes=size + 1), BackwardReader(paths[::-1], max_bytes=bound)
        found = list(cut)

        assert expected == list(whole)
        assert whole.complete
        assert found == expected[: len(found)]
        assert (bound > size) <= cut.complete <= (bound >= size)
        assert len(found) == len(expected) or not cut.complete


def test_backward_reading_says_that_a_file_could_not_be_read(tmp_path: Path) -> None:
    """A file that can't be read is reported, and one that is gone is not."""
    old, new, gone = segment(tmp_path, 1), segment(tmp_path, 2), segment(tmp_path, 3)
    old.write_bytes(b"1\n")
    new.mkdir()
    reader = BackwardReader([gone, new, old], max_bytes=10_000)

    assert ([b"1"], False) == (list(reader), reader.complete)

    new.rmdir()
    reader = BackwardReader([gone, new, old], max_bytes=10_000)

    assert ([b"1"], True) == (list(reader), reader.complete)


def test_very_many_small_files_are_not_all_read(tmp_path: Path) -> None:
    """Each counts as a block of the disk, since to open a file takes as long as to read one."""
    paths = [segment(tmp_path, number) for number in range(10)]
    for path in paths:
        path.write_bytes(b"1\n")
    reader = BackwardReader(paths, max_bytes=5 * 4096)

    assert ([b"1"] * 5, False) == (list(reader), reader.complete)


def test_events_of_one_kind_are_found_wherever_the_reads_fall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every whole line of the event is found, in order, and no other."""
    path = segment(tmp_path, 1)
    wanted = [b'{"seq":%d,"event":"segment_sealed","file":"m/%d"}\n' % (number, number) for number in range(9)]
    path.write_bytes(b'{"seq":0,"event":"poll"}\n'.join([b"", *wanted, b'{"event":"segment_sealed","file":"']))
    for chunk in (1, 2, 3, 7, 20, 100, 1000, 1 << 20):
        monkeypatch.setattr(look_back, "_CHUNK", chunk)

        assert wanted == list(events(path, "segment_sealed"))
