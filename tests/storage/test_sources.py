"""Sources: each kind of place is read through the same interface."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Callable

import pytest

from sqmon.config.settings import SegmentOptions
from sqmon.errors import SqmonError
from sqmon.storage.compression import Source as ToCompress
from sqmon.storage.compression import compress
from sqmon.storage.file_sources import DirectorySource, source_at
from sqmon.storage.knowledge import Knowledge
from sqmon.storage.recount import recounted
from sqmon.storage.single_file import SingleFileWriter
from sqmon.storage.source import MIXED, Source
from tests.support.clocks import FakeClock
from tests.support.segment_files import Stream, segments

SMALL = SegmentOptions(max_bytes=2_000)


def written(log_dir: Path, *metrics: str) -> bytes:
    """Write some small segments of each metric, compress the first of each, and return all their lines."""
    content = b""
    for metric in metrics:
        stream = Stream(log_dir, SMALL, metric=metric)
        for _ in range(5):
            stream.poll(5)
            stream.clock.advance(1)
        stream.writer.close()
    for path in segments(log_dir):
        content += path.read_bytes()
    for metric in metrics:
        seal = recounted(log_dir, f"{metric}/{next(path.name for path in segments(log_dir) if path.parent.name == metric)}")
        compress(log_dir, ToCompress(seal.file, seal.bytes, seal.sha256, Knowledge.READ, 0, None), lambda: None)
    return content


def content(source: Source) -> bytes:
    """Return all lines of a source, each segment read in two parts."""
    found = []
    for stream in source.streams():
        for segment in source.segments(stream):
            half = segment.size() // 2
            with segment.open() as first, segment.open(half) as second:
                found += [first.read(half), second.read()]
    return b"".join(found)


def one_file(path: Path) -> bytes:
    """Write a single file that is rotated twice, and return its lines."""
    lines = [b'{"ts":"2026-11-24T12:00:00.%09dZ","seq":%d,"metric":"m"}\n' % (number, number) for number in range(9)]
    clock = FakeClock()
    writer = SingleFileWriter(path, clock=clock, on_dropped=lambda _: None, max_bytes=200)
    stream = Stream(path.parent / "unused", SMALL)
    for line in lines:
        (batch,) = stream.encoder.rows(("n",), [(line.decode(),)], poll=1, started_ns=clock.time_ns())
        writer.append(batch._replace(data=line))
    writer.close()
    return b"".join(lines)


def test_directory_has_streams_of_segments_and_archives(tmp_path: Path) -> None:
    """Plain segments and archives of a directory are one sequence for each stream, with sizes and last lines of the plain text."""
    whole = written(tmp_path, "a", "b")
    source = source_at(tmp_path)

    assert ["a", "b"] == source.streams()
    assert whole == content(source)
    for stream in source.streams():
        found = source.segments(stream)
        assert [False, *[True] * (len(found) - 1)] == [segment.seekable for segment in found]
        for segment in found:
            with segment.open() as file:
                text = file.read()
            assert (len(text), text.splitlines()[-1]) == (segment.size(), segment.last_line())
            assert (stream, f"{stream}/{stream}-") == (segment.stream, segment.name[: 2 * len(stream) + 2])
            assert (segment.born_ns or 0) <= (segment.ended_by_ns or 0)


def test_segment_is_the_same_when_it_is_compressed_between_two_looks(tmp_path: Path) -> None:
    """A segment that was listed as a plain file is read from its archive, and has the same key."""
    stream = Stream(tmp_path, SMALL, metric="m")
    stream.poll(5)
    stream.writer.close()
    (listed,) = DirectorySource(tmp_path).segments("m")
    with listed.open() as file:
        text = file.read()
    (seal,) = stream.sealed
    compress(tmp_path, ToCompress(seal.file, seal.bytes, seal.sha256, Knowledge.READ, 0, None), lambda: None)
    (again,) = DirectorySource(tmp_path).segments("m")

    with listed.open() as file:
        assert text == file.read()
    assert (listed.key, len(text), False) == (again.key, listed.size(), listed.seekable)


def test_single_file_is_read_with_its_rotations(tmp_path: Path) -> None:
    """The single file and what it has become are one sequence, the oldest first, for whichever stream is asked."""
    whole = one_file(tmp_path / "all.jsonl")
    source = source_at(tmp_path / "all.jsonl")

    assert [MIXED] == source.streams()
    assert len(source.segments("m")) > 2
    assert whole == content(source)


def test_file_that_is_rotated_after_it_was_listed_is_still_read(tmp_path: Path) -> None:
    """A rotation renames files; what was listed is found under its new name, and what is gone is FileNotFoundError."""
    path = tmp_path / "all.jsonl"
    path.write_bytes(b"old\n")
    (listed,) = source_at(path).segments("m")
    path.rename(tmp_path / "all.jsonl.1")
    path.write_bytes(b"new\n")

    with listed.open() as file:
        assert b"old\n" == file.read()
    assert [listed.key] == [segment.key for segment in source_at(path).segments("m")][:1]
    (tmp_path / "all.jsonl.1").unlink()
    for ask in (listed.open, listed.size, listed.last_line):
        with pytest.raises(FileNotFoundError):
            ask()


@pytest.mark.parametrize("place", [lambda log_dir: log_dir / "m", lambda log_dir: log_dir / "archive" / "m"])
def test_directory_of_one_stream_is_a_source(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    """The subdirectory of a stream, or a directory with segments that somebody has copied, is read as it is."""
    written(tmp_path, "m")
    source = source_at(place(tmp_path))

    assert ["m"] == source.streams()
    assert content(source)
    assert [] == source.segments("other")


def test_segment_alone_is_a_source(tmp_path: Path) -> None:
    """A segment or an archive by itself has its stream from its name, wherever it lies."""
    written(tmp_path, "m")
    plain, archived = segments(tmp_path)[0], next((tmp_path / "archive" / "m").iterdir())
    for path in (plain, archived):
        copy = tmp_path / "elsewhere" / path.name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
        source = source_at(copy)

        assert ["m"] == source.streams()
        assert content(source_at(path)) == content(source)


def test_what_has_no_lines_is_refused_in_one_line(tmp_path: Path) -> None:
    """A path that is not there is an error that names it."""
    with pytest.raises(SqmonError, match=r"^.*/nothing: can't be read: no such file or directory$"):
        source_at(tmp_path / "nothing")
