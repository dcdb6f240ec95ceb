"""Archives: what is compressed is read as before, and neither a kill nor a full disk loses or doubles a line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator

import pytest
import zstandard

from sqmon.config.settings import SegmentOptions
from sqmon.storage.archive import card_of
from sqmon.storage.compression import AlteredError, Source, compress, remove_partial
from sqmon.storage.knowledge import Knowledge, Unread
from sqmon.storage.look_back import BackwardReader, events
from sqmon.storage.reader import StreamReader, opened
from sqmon.storage.reader import segments as stored_segments
from sqmon.storage.recount import recounted
from sqmon.storage.segment import newest_ns
from sqmon.storage.segment_names import all_segments, archive_of
from tests.support.clocks import FakeClock
from tests.support.segment_files import Stream, fill, segments, small_disk

SMALL = SegmentOptions(max_bytes=20_000)


def written(log_dir: Path, metric: str = "show_locks", rows: int = 400) -> list[Path]:
    """Write some small segments, and return them."""
    stream = Stream(log_dir, SMALL, metric=metric)
    for _ in range(rows // 40):
        stream.poll(40, f"select '{os.urandom(8).hex()}'")
        stream.clock.advance(1)
    stream.writer.close()
    return stored_segments(log_dir, metric)


def source(log_dir: Path, path: Path, unread: Unread | None = None) -> Source:
    """Return the order to compress a segment as its writer has sealed it."""
    seal = recounted(log_dir, f"{path.parent.name}/{path.name}")
    return Source(seal.file, seal.bytes, seal.sha256, Knowledge.UNKNOWN if unread else Knowledge.READ, 7 if unread else 0, unread)


def archive(log_dir: Path, *paths: Path) -> None:
    """Compress segments."""
    for path in paths:
        compress(log_dir, source(log_dir, path), lambda: None)


def lines_of(path: Path) -> list[bytes]:
    """Return the lines of a segment, whatever its form."""
    with opened(path) as file:
        return file.read().splitlines(keepends=True)


def test_archive_is_what_every_zstd_program_reads(tmp_path: Path) -> None:
    """An archive is a .zst file with the segment's bytes, mode and time, outside the agent's glob, and the segment is gone."""
    first, *_ = written(tmp_path)
    content, modified_ns = first.read_bytes(), first.stat().st_mtime_ns
    size = compress(tmp_path, source(tmp_path, first), lambda: None)
    path = tmp_path / "archive" / "show_locks" / f"{first.name}.zst"
    with path.open("rb") as file:
        decompressed = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()

    assert content == decompressed
    assert (size, modified_ns, 0o640) == (path.stat().st_size, path.stat().st_mtime_ns, stat.S_IMODE(path.stat().st_mode))
    assert not first.exists()
    assert path not in {*tmp_path.glob("*/*.jsonl"), *tmp_path.glob("*/*/*.jsonl")}


def test_readers_read_both_forms(tmp_path: Path) -> None:
    """Every reader gives the same of segments and of archives, in the same order."""
    paths = written(tmp_path)
    names = all_segments(tmp_path)
    forwards = list(StreamReader(tmp_path, "show_locks").read())
    backwards = list(BackwardReader(paths[::-1], max_bytes=1 << 30))
    archive(tmp_path, *paths[:-2:2], paths[-1])

    assert (paths, names) == (stored_segments(tmp_path, "show_locks"), all_segments(tmp_path))
    assert segments(tmp_path) == [path for path in paths if path.exists()]
    assert 0 < len(segments(tmp_path)) < len(paths)
    assert forwards == list(StreamReader(tmp_path, "show_locks").read())
    assert backwards == list(BackwardReader(paths[::-1], max_bytes=1 << 30))


def test_reading_goes_on_where_it_was_when_a_segment_is_compressed(tmp_path: Path) -> None:
    """A reader that has read half of a segment reads the rest of it from the archive, and nothing twice."""
    clock = FakeClock()
    stream = Stream(tmp_path, SegmentOptions(), clock=clock)
    reader = StreamReader(tmp_path, "show_locks")
    stream.poll(10)
    first = [record["seq"] for record in reader.read()]
    clock.advance(1)
    stream.poll(10)
    stream.writer.close()
    archive(tmp_path, *stored_segments(tmp_path, "show_locks"))

    assert ([*range(1, 11)], [*range(11, 21)]) == (first, [record["seq"] for record in reader.read()])


def test_numbers_and_times_go_on_after_everything_was_compressed(tmp_path: Path) -> None:
    """A new process continues after the last archive: its segment has the next number, and its `ts` is later."""
    paths = written(tmp_path)
    last_ns = newest_ns(tmp_path, "show_locks")
    archive(tmp_path, *paths)

    assert last_ns == newest_ns(tmp_path, "show_locks") > 0

    after = written(tmp_path, rows=40)

    assert paths == after[: len(paths)]
    assert f"{len(paths) + 1:06d}" == after[len(paths)].name[-12:-6]


def test_card_has_what_was_known_and_what_a_start_asks_for(tmp_path: Path) -> None:
    """The card says what the agent may not have read; of events it repeats all but polls, and the last good poll of each metric."""
    (tmp_path / "sqmon").mkdir()
    path = tmp_path / "sqmon" / "sqmon-20261124T153050.001002Z-000001.jsonl"
    polls = [
        b'{"seq":%d,"event":"poll","target":"%s","status":"%s"}\n' % (number, target, status)
        for number, (target, status) in enumerate([(b"a", b"ok"), (b"b", b"empty"), (b"a", b"ok"), (b"a", b"error")])
    ]
    others = [b'{"event":"start"}\n', b'{"event":"segment_sealed","file":"m/1"}\n', b'{"event":"stop"}\n']
    path.write_bytes(b"".join([others[0], *polls, *others[1:]]) + b'{"event":"half')
    sealed = list(events(path, "segment_sealed"))
    unread = Unread("sqmon", "run", "since", "until", 3, 9)
    compress(tmp_path, source(tmp_path, path, unread), lambda: None)
    card = card_of(path)

    assert [line.decode().rstrip() for line in [others[0], polls[1], polls[2], *others[1:]]] == card.events
    assert (unread, 7, Knowledge.UNKNOWN, '{"event":"stop"}') == (card.unread, card.unread_bytes, card.knowledge, card.last_line)
    assert card.events[::-1] == [line.decode() for line in BackwardReader([path], max_bytes=1 << 20, brief=True)]
    assert sealed == list(events(path, "segment_sealed"))


@pytest.mark.parametrize("change", ["cut", "longer", "other"])
def test_segment_that_was_altered_is_left(tmp_path: Path, change: str) -> None:
    """A segment that is not what was sealed stays as it is, and no archive is made of it."""
    path, *_ = written(tmp_path)
    order, data = source(tmp_path, path), path.read_bytes()
    path.write_bytes({"cut": data[:-1], "longer": data + b"x", "other": data[:50] + b"x" + data[51:]}[change])
    with pytest.raises(AlteredError):
        compress(tmp_path, order, lambda: None)

    assert path.exists()
    assert [] == list(tmp_path.glob("archive/*/*")) + list(tmp_path.glob("archive/*/.*"))


def test_broken_archive_is_never_taken_for_the_segment(tmp_path: Path) -> None:
    """Whatever byte is changed or cut off, reading gives the segment's bytes or an OSError, never other bytes or fewer."""
    path, *_ = written(tmp_path)
    content = path.read_bytes()
    archive(tmp_path, path)
    packed = archive_of(path)
    data = packed.read_bytes()
    chance = random.Random(7)
    damaged = [data[:size] for size in (0, 1, 20, len(data) // 2, len(data) - 1)]
    places = [chance.randrange(len(data)) for _ in range(200)]
    damaged += [data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :] for place in places]
    refused = 0
    for bad in damaged:
        packed.write_bytes(bad)
        try:
            with opened(path) as file:
                assert file.read() == content
        except OSError:
            refused += 1

    assert refused > len(damaged) // 2


def test_archive_that_a_kill_left_beside_its_segment_is_checked(tmp_path: Path) -> None:
    """If both are there, the segment goes when its archive has what was sealed; a broken archive is made again; half of one is removed."""
    whole, broken, *_ = written(tmp_path)
    contents = {path: path.read_bytes() for path in (whole, broken)}
    orders = {path: source(tmp_path, path) for path in contents}
    archive(tmp_path, whole, broken)
    for path, content in contents.items():
        path.write_bytes(content)
    inode = archive_of(whole).stat().st_ino
    archive_of(broken).write_bytes(archive_of(broken).read_bytes()[:-9])
    partial = archive_of(broken).with_name(f".{broken.name}.zst.partial")
    partial.write_bytes(b"half")
    remove_partial(tmp_path)
    for order in orders.values():
        compress(tmp_path, order, lambda: None)

    assert not partial.exists()
    assert inode == archive_of(whole).stat().st_ino
    assert list(contents.values()) == [b"".join(lines_of(path)) for path in contents]
    assert not any(path.exists() for path in contents)


def test_full_disk_leaves_the_segment(tmp_path: Path) -> None:
    """On a full disk the segment stays, no half archive does, and it is compressed when there is room again."""
    with small_disk(tmp_path / "disk") as disk:
        path = written(disk, rows=40)[0]
        order, content = source(disk, path), path.read_bytes()
        filler = fill(disk)
        with pytest.raises(OSError, match="No space left"):
            compress(disk, order, lambda: None)

        assert content == path.read_bytes()
        assert [] == list(disk.glob("archive/*/.*"))

        filler.unlink()
        compress(disk, order, lambda: None)

        assert (content, False) == (b"".join(lines_of(path)), path.exists())


ARCHIVER = """
import sys
from pathlib import Path
from sqmon.storage.compression import Source, compress, remove_partial
from sqmon.storage.knowledge import Knowledge
log_dir = Path(sys.argv[1])
print(flush=True)
remove_partial(log_dir)
for order in sys.stdin.read().split():
    file, size, sha256 = order.split(",")
    try:
        compress(log_dir, Source(file, int(size), sha256, Knowledge.READ, 0, None), lambda: None)
    except FileNotFoundError:
        pass
"""


@contextlib.contextmanager
def archiver(log_dir: Path, orders: list[Source]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that compresses, and return when it is about to begin."""
    with subprocess.Popen([sys.executable, "-c", ARCHIVER, str(log_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.write(" ".join(f"{each.file},{each.bytes},{each.sha256}" for each in orders).encode())
        process.stdin.close()
        process.stdin = None
        try:
            yield process
        finally:
            process.kill()


def test_kill_at_any_instant_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Whenever the process that compresses is killed, every segment is there once with its content; the next one ends the work."""
    chance = random.Random(os.urandom(8))
    with small_disk(tmp_path / "disk", "8m") as disk:
        paths = written(disk, rows=8_000)
        orders = [source(disk, path) for path in paths]
        sums = [order.sha256 for order in orders]
        kills = 0
        while any(path.exists() for path in paths):
            with archiver(disk, orders) as process:
                # Longer each time, so that it comes to an end.
                time.sleep(chance.uniform(0, 0.02) * (1 + kills / 4))
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL

            assert paths == stored_segments(disk, "show_locks")
            assert sums == [hashlib.sha256(b"".join(lines_of(path))).hexdigest() for path in paths]
        with archiver(disk, orders) as process:
            assert process.wait() == 0

        assert kills > 0
        assert len(paths) == len(list(disk.glob("archive/*/*.zst"))) > 50
        assert [] == list(disk.glob("archive/*/.*"))
        assert [*range(1, 8001)] == [record["seq"] for record in StreamReader(disk, "show_locks").read()]


def test_a_thousand_locks_shrink_to_a_thirtieth(tmp_path: Path) -> None:
    """Polls of 1,247 rows that differ in little become at most 3 % of their bytes."""
    stream = Stream(tmp_path, SegmentOptions())

    for _ in range(10):
        stream.poll(1247, "select a from b where c = d" * 4)
        stream.clock.advance(2)
    stream.writer.close()
    (path,) = stored_segments(tmp_path, "show_locks")
    size = path.stat().st_size

    assert compress(tmp_path, source(tmp_path, path), lambda: None) <= 0.03 * size
    assert json.loads(card_of(path).last_line)["seq"] == 12_470
