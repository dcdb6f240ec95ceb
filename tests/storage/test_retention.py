"""Retention: which segments are deleted, in which order, and which are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sqmon.config.settings import SegmentOptions
from sqmon.storage.agent_positions import NOTHING_KNOWN, Positions, find, read_positions
from sqmon.storage.compression import Source, compress
from sqmon.storage.inventory import take_stock
from sqmon.storage.knowledge import Knowledge, Unread
from sqmon.storage.recount import recounted
from sqmon.storage.retention import Deleted, RetentionLimits, active_segments, enforce, last_written_ns, to_compress
from sqmon.storage.segment_names import archive_of
from sqmon.storage.steady_time import SteadyTime
from tests.support.agent_model import Agent, Kind
from tests.support.clocks import FakeClock
from tests.support.segment_files import Stream, records, segments, small_disk
from tests.support.users import as_nobody

HOUR = 3600
DAY = 24 * HOUR
ROOMY = RetentionLimits(max_age_s=1e12, max_bytes=1 << 40)


def five_segments(log_dir: Path, metric: str = "show_locks", clock: FakeClock | None = None) -> list[Path]:
    """Write five sealed segments of five records each, a day apart."""
    clock = clock or FakeClock()
    before = set(segments(log_dir))
    for _ in range(5):
        stream = Stream(log_dir, SegmentOptions(), metric=metric, clock=clock)
        stream.poll(5)
        assert stream.writer.path is not None
        os.utime(stream.writer.path, ns=(clock.now_ns, clock.now_ns))
        stream.writer.close()
        clock.advance(DAY)
    return [path for path in segments(log_dir) if path not in before]


def names(deleted: list[Deleted]) -> list[str]:
    """Return the files that were deleted, in order."""
    return [each.file.partition("/")[2] for each in deleted]


def test_nothing_is_deleted_within_the_limits(tmp_path: Path) -> None:
    """Nothing is deleted within the default limits, a week and 2 GiB."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)

    assert enforce(tmp_path, RetentionLimits(), active=[], now_ns=clock.now_ns) == []
    assert segments(tmp_path) == files


@pytest.mark.parametrize("limits", [RetentionLimits(max_age_s=DAY / 2), RetentionLimits(max_age_s=1e12, max_bytes=1)])
def test_segment_with_a_stamp_from_the_future_is_no_younger_than_those_after_it(tmp_path: Path, limits: RetentionLimits) -> None:
    """A segment from a clock that was years ahead is kept no longer than others, neither by age nor by size."""
    clock = FakeClock()
    clock.step(1000 * DAY)
    fast = five_segments(tmp_path, clock=clock)
    clock.step(-1000 * DAY)
    right = five_segments(tmp_path, clock=clock)
    deleted = enforce(tmp_path, limits, active=right[-1:], now_ns=clock.now_ns)

    assert names(deleted) == [path.name for path in fast + right[:-1]]


def test_missing_directory_has_nothing_to_delete(tmp_path: Path) -> None:
    """A log directory that doesn't exist yet is no error."""
    assert enforce(tmp_path / "logs", RetentionLimits(max_bytes=0), active=[], now_ns=0) == []


def test_old_segments_go_by_their_last_line(tmp_path: Path) -> None:
    """Age deletes every segment, even a metric's newest, whose metric may be gone."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    first = enforce(tmp_path, RetentionLimits(max_age_s=3.5 * DAY), active=[], now_ns=clock.now_ns)
    clock.advance(30 * DAY)
    rest = enforce(tmp_path, RetentionLimits(), active=[], now_ns=clock.now_ns)

    assert [each.reason for each in first + rest] == ["age"] * 5
    assert names(first) == [path.name for path in files[:2]]
    assert segments(tmp_path) == []


def test_largest_total_over_all_metrics_deletes_the_oldest(tmp_path: Path) -> None:
    """Size deletes the oldest segments of all metrics, and no more than necessary."""
    clock = FakeClock()
    older, newer = five_segments(tmp_path, "a", clock), five_segments(tmp_path, "b", clock)
    total = sum(path.stat().st_size for path in older + newer)
    sizes = [path.stat().st_size for path in older]
    deleted = enforce(tmp_path, RetentionLimits(max_age_s=1e12, max_bytes=total - sizes[0] - 1), active=[], now_ns=clock.now_ns)

    assert deleted == [Deleted(f"a/{path.name}", size, "size", Knowledge.READ, 0, None) for path, size in zip(older[:2], sizes)]
    assert segments(tmp_path) == older[2:] + newer


def test_newest_of_each_metric_stays(tmp_path: Path) -> None:
    """Size never deletes the newest segment of a metric, which may have been opened since the caller looked."""
    clock = FakeClock()
    older, newer = five_segments(tmp_path, "a", clock), five_segments(tmp_path, "b", clock)
    enforce(tmp_path, RetentionLimits(max_age_s=1e12, max_bytes=0), active=[], now_ns=clock.now_ns)

    assert segments(tmp_path) == [older[-1], newer[-1]]


def test_active_segments_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Active segments stay, whatever the limits are and however their path is written."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    monkeypatch.chdir(tmp_path)
    active = [files[0], Path("show_locks") / files[1].name]
    clock.advance(100 * DAY)
    enforce(Path(), RetentionLimits(max_age_s=1, max_bytes=0), active=active, now_ns=clock.now_ns)

    assert segments(tmp_path) == files[:2]


def test_free_space_is_kept(tmp_path: Path) -> None:
    """On a disk of its own, as many segments go as make up for the missing space."""
    with small_disk(tmp_path / "disk") as disk:
        clock = FakeClock()
        files = five_segments(disk, clock=clock)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        limits = RetentionLimits(max_age_s=1e12, min_free_bytes=free + files[0].stat().st_size + 1)
        deleted = enforce(disk, limits, active=[], now_ns=clock.now_ns)

        assert names(deleted) == [path.name for path in files[:2]]
        assert {each.reason for each in deleted} == {"free_space"}


def test_other_files_are_never_deleted(tmp_path: Path) -> None:
    """Strangers' files, links, and a segment in the directory of another metric are never deleted."""
    clock = FakeClock()
    files = five_segments(tmp_path / "elsewhere", clock=clock)
    log_dir = tmp_path / "logs"
    (log_dir / "show_locks").mkdir(parents=True)
    (log_dir / "other").mkdir()
    others = [
        log_dir / files[0].name,
        log_dir / "status.json",
        log_dir / "other" / files[0].name,
        log_dir / "show_locks" / f"{files[0].name}.gz",
        log_dir / "show_locks" / "notes.jsonl",
        log_dir / "show_locks" / "show_locks-20261124T153050.123456Z-17.jsonl",
    ]
    for path in others:
        path.write_text("not ours")
        os.utime(path, (0, 0))
    link = log_dir / "show_locks" / files[1].name
    link.symlink_to(files[1])
    (log_dir / "linked").symlink_to(files[0].parent)
    directory = log_dir / "show_locks" / files[2].name
    directory.mkdir()

    assert enforce(log_dir, RetentionLimits(max_age_s=0, max_bytes=0, min_free_bytes=1 << 60), active=[], now_ns=clock.now_ns) == []
    assert all(path.exists() for path in [*others, link, directory, *files])


def test_segment_that_cannot_be_deleted_is_not_reported(shared_path: Path) -> None:
    """A segment that can't be deleted, as in a read-only directory, is not reported as deleted."""
    clock = FakeClock()
    files = five_segments(shared_path, clock=clock)
    (shared_path / "show_locks").chmod(0o755)
    with as_nobody():
        deleted = enforce(shared_path, RetentionLimits(max_age_s=0, max_bytes=0), active=[], now_ns=clock.now_ns)

    assert (deleted, segments(shared_path)) == ([], files)


def read_to_the_end(files: list[Path], written_ns: int = 0) -> Positions:
    """Return the positions of an agent that has read these files to the end."""
    return Positions({path: path.stat().st_size for path in files}, written_ns)


def test_what_is_known_to_be_elsewhere_goes_first(tmp_path: Path) -> None:
    """What was seen in Loki goes first, then what was read, then what was begun by an agent that ran on, then the rest."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    two_lines = len(b"".join(files[1].read_bytes().splitlines(keepends=True)[:2]))
    positions = Positions({files[1]: two_lines, files[2]: files[2].stat().st_size}, clock.now_ns)
    ts = [record["ts"] for record in records(tmp_path)]
    limits = RetentionLimits(max_age_s=1e12, max_bytes=1)
    deleted = enforce(tmp_path, limits, active=[files[4]], now_ns=clock.now_ns, positions=positions, proved=[files[3]])

    assert names(deleted) == [files[3].name, files[2].name, files[1].name, files[0].name]
    assert [each.knowledge for each in deleted] == [Knowledge.PROVED, Knowledge.READ, Knowledge.BEGUN, Knowledge.UNKNOWN]
    assert [each.unread and (each.unread.first_seq, each.unread.last_seq) for each in deleted] == [None, None, (3, 5), (1, 5)]
    assert [each.unread_bytes for each in deleted] == [0, 0, deleted[2].bytes - two_lines, deleted[3].bytes]
    assert deleted[2].unread is not None
    assert (deleted[2].unread.metric, deleted[2].unread.since, deleted[2].unread.until) == ("show_locks", ts[7], ts[9])


@pytest.mark.parametrize(("kind", "known"), [("alloy", Knowledge.BEGUN), ("promtail", Knowledge.READ)])
def test_segment_that_was_read_in_a_burst_goes_by_its_age(tmp_path: Path, kind: Kind, known: Knowledge) -> None:
    """Age deletes a segment that Alloy read at one go, though its position stays at the first line."""
    log_dir = tmp_path / "lines"
    files = five_segments(log_dir)
    agent = Agent(log_dir, tmp_path / "positions.yml", kind)
    agent.start(0)
    for second in range(75):
        agent.turn(second)
    agent.kill()
    positions = read_positions(tmp_path / "positions.yml")
    assert positions is not None
    last_ns = max(path.stat().st_mtime_ns for path in files)
    later = positions._replace(written_ns=last_ns + 601 * 10**9)
    deleted = enforce(log_dir, RetentionLimits(), active=[], now_ns=last_ns + 30 * DAY * 10**9, positions=later)

    assert sum(agent.received.values()) == 25
    assert [(each.reason, each.knowledge) for each in deleted] == [("age", known)] * 5


def test_segment_that_the_agent_may_have_stopped_in_stays(tmp_path: Path) -> None:
    """Age doesn't delete a segment in the middle of which the agent may have stopped."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    positions = Positions(dict.fromkeys(files, 10), clock.now_ns - 5 * DAY * 10**9 + 60 * 10**9)
    clock.advance(30 * DAY)

    assert enforce(tmp_path, RetentionLimits(), active=[], now_ns=clock.now_ns, positions=positions) == []


def test_age_does_not_delete_what_the_agent_has_not_begun(tmp_path: Path) -> None:
    """An agent that is down for longer than a week finds everything that fits on the disk."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    clock.advance(30 * DAY)

    for positions in (NOTHING_KNOWN, Positions({}, clock.now_ns)):
        assert enforce(tmp_path, RetentionLimits(), active=[], now_ns=clock.now_ns, positions=positions) == []
    assert segments(tmp_path) == files


def test_half_a_line_left_by_a_kill_is_not_unread(tmp_path: Path) -> None:
    """Half a line at the end, before which the agent's position stays for ever, doesn't keep the file."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    positions = read_to_the_end(files)
    with files[0].open("ab") as file:
        file.write(b'{"ts":"2026')
    deleted = enforce(tmp_path, RetentionLimits(max_age_s=1), active=files[1:], now_ns=clock.now_ns + 10**12, positions=positions)

    assert [(each.reason, each.knowledge, each.unread) for each in deleted] == [("age", Knowledge.READ, None)]


def test_torn_last_line_is_not_counted_as_a_record(tmp_path: Path) -> None:
    """What is told of a deleted segment ends with its last whole record."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    with files[0].open("ab") as file:
        file.write(b'{"ts":"2026')
    (files[1]).write_bytes(b'{"ts":"2026')
    limits = RetentionLimits(max_age_s=1e12, max_bytes=1)
    deleted = enforce(tmp_path, limits, active=files[2:], now_ns=clock.now_ns, positions=NOTHING_KNOWN)

    assert [each.unread and (each.unread.first_seq, each.unread.last_seq) for each in deleted] == [None, (1, 5)]


def test_link_of_a_writer_that_is_gone_keeps_nothing(tmp_path: Path) -> None:
    """The link that a killed writer leaves doesn't keep its segment for longer than a segment can be written to."""
    clock = FakeClock()
    killed = Stream(tmp_path, SegmentOptions(), clock=clock)
    killed.poll(5)
    active = killed.writer.path
    assert active is not None
    os.utime(active, ns=(clock.now_ns, clock.now_ns))

    assert active_segments(tmp_path, now_ns=clock.now_ns, lifetime_s=DAY) == [active]
    assert active_segments(tmp_path, now_ns=clock.now_ns + 2 * DAY * 10**9, lifetime_s=DAY) == []
    assert active_segments(tmp_path / "nowhere", now_ns=clock.now_ns, lifetime_s=DAY) == []


def test_clock_that_jumps_ahead_deletes_nothing_for_its_age_within_an_hour(tmp_path: Path) -> None:
    """A clock that jumps ahead deletes nothing for its age within an hour, and is then believed."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    time = SteadyTime(clock, last_written_ns(tmp_path))
    started_ns = time.now_ns()

    def swept() -> list[str]:
        return [each.file for each in enforce(tmp_path, RetentionLimits(), active=[], now_ns=time.now_ns())]

    def after(seconds: int) -> list[str]:
        found = []
        for _ in range(seconds // 30):
            clock.advance(30)
            found += swept()
        return found

    clock.step(400 * DAY)
    assert swept() == []
    assert after(HOUR - 30) == []
    clock.step(-400 * DAY)
    assert after(2 * HOUR) == []
    assert time.now_ns() - started_ns >= 3 * HOUR * 10**9 - 30 * 10**9
    clock.step(400 * DAY)
    assert len(after(HOUR + 60)) == len(files)


def test_time_without_a_witness_is_believed_after_an_hour(tmp_path: Path) -> None:
    """After a start, eight days that may be a wrong clock's are believed after an hour."""
    clock = FakeClock()
    five_segments(tmp_path, clock=clock)
    witnessed_ns = last_written_ns(tmp_path)
    clock.advance(30 * DAY)
    time = SteadyTime(clock, witnessed_ns)

    assert time.now_ns() == witnessed_ns
    clock.advance(HOUR)
    assert time.now_ns() == clock.now_ns
    assert SteadyTime(clock, 0).now_ns() == clock.now_ns
    assert SteadyTime(clock, clock.now_ns + DAY * 10**9).now_ns() == clock.now_ns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("positions: {}\n", {}),
        (
            "positions:\n  /a/b.jsonl: \"12\"\n  '/it''s: a/b': \"5\"\n  /plain: 7\n  cursor-x: s=9;i=1\n",
            {"/a/b.jsonl": 12, "/it's: a/b": 5, "/plain": 7},
        ),
        (
            'positions:\n    ? path: /a/b.jsonl\n      labels: \'{}\'\n    : "12"\n    ? path: "/q\\"b"\n      labels: ""\n    : "5"\n',
            {"/a/b.jsonl": 12, '/q"b': 5},
        ),
        ('positions:\n  ? path: /a\n    labels: \'{a="1"}\'\n  : "12"\n  ? path: /a\n  : "5"\n', {"/a": 5}),
        ('positions:\n  ? /long/key\n  : "9"\n', {"/long/key": 9}),
        ('[\n\t{\n\t\t"path": "/a/b.jsonl",\n\t\t"inode": 7,\n\t\t"fingerprint": 9,\n\t\t"offset": 12\n\t}\n]', {"/a/b.jsonl": 12}),
        ("something: else\n", None),
        ("positions: [1, 2]\n", None),
        ("positions: {\n", None),
        ("positions: text\n", None),
        ("[" * 100_000, None),
        ('[{"path": "/a"}]', None),
    ],
)
def test_positions_of_each_agent_are_read(tmp_path: Path, text: str, expected: dict[str, int] | None) -> None:
    """Promtail's mapping, Alloy's keys of several lines and vlagent's JSON are read; of several entries for a path the lowest counts."""
    path = tmp_path / "positions.yml"
    path.write_text(text)
    os.utime(path, ns=(5, 5))
    known = None if expected is None else Positions({Path(name): offset for name, offset in expected.items()}, 5)

    assert read_positions(path) == known


def test_positions_file_that_is_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody may ever write to it."""
    os.mkfifo(tmp_path / "positions.yml")

    assert read_positions(tmp_path / "positions.yml") is None


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_positions_that_cannot_be_read_are_unknown(tmp_path: Path, content: bytes | None) -> None:
    """A positions file that is missing or holds anything else says nothing about what was read."""
    path = tmp_path / "positions.yml"
    if content is not None:
        path.write_bytes(content)

    assert read_positions(path) is None


def archived(log_dir: Path, *files: Path, knowledge: Knowledge = Knowledge.READ, unread: Unread | None = None) -> list[int]:
    """Compress the files, and return the sizes of their archives."""
    sizes = []
    for path in files:
        seal = recounted(log_dir, f"{path.parent.name}/{path.name}")
        unread_bytes = 0 if knowledge <= Knowledge.READ else seal.bytes
        sizes.append(compress(log_dir, Source(seal.file, seal.bytes, seal.sha256, knowledge, unread_bytes, unread), lambda: None))
    return sizes


def anything(_: str) -> bool:
    """Every segment has a seal."""
    return True


def test_archives_count_and_go_like_segments(tmp_path: Path) -> None:
    """Size counts archives and segments together, deletes the oldest first, and says which archive it was."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    plain = files[3].stat().st_size + files[4].stat().st_size
    sizes = archived(tmp_path, *files[:3])
    limits = RetentionLimits(max_age_s=1e12, max_bytes=plain + sizes[2])
    deleted = enforce(tmp_path, limits, active=files[4:], now_ns=clock.now_ns)

    assert names(deleted) == [path.name for path in files[:2]]
    assert [each.bytes for each in deleted] == sizes[:2]
    assert [each.archive for each in deleted] == [f"archive/show_locks/{path.name}.zst" for path in files[:2]]
    assert last_written_ns(tmp_path) == clock.now_ns - DAY * 10**9


def test_archives_are_as_old_as_their_last_line(tmp_path: Path) -> None:
    """Age deletes archives by the time of their last line, even all of a metric."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    archived(tmp_path, *files)
    first = enforce(tmp_path, RetentionLimits(max_age_s=3.5 * DAY), active=[], now_ns=clock.now_ns)
    rest = enforce(tmp_path, RetentionLimits(), active=[], now_ns=clock.now_ns + 30 * DAY * 10**9)

    assert names(first) == [path.name for path in files[:2]]
    assert [each.reason for each in first + rest] == ["age"] * 5
    assert list(tmp_path.glob("archive/*/*")) == []


def test_archive_remembers_what_was_not_read(tmp_path: Path) -> None:
    """With positions, an archive of which nothing was known goes last, never by age, and its deletion says what was in it."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    unread = Unread("show_locks", "run", "since", "until", 1, 5)
    sizes = [path.stat().st_size for path in files]
    archived(tmp_path, files[0], knowledge=Knowledge.UNKNOWN, unread=unread)
    archived(tmp_path, files[1])
    later = clock.now_ns + 30 * DAY * 10**9
    by_age = enforce(tmp_path, RetentionLimits(), active=files[2:], now_ns=later, positions=NOTHING_KNOWN)
    by_size = enforce(tmp_path, RetentionLimits(1e12, 1), active=files[2:], now_ns=later, positions=NOTHING_KNOWN)

    assert names(by_age + by_size) == [files[1].name, files[0].name]
    assert [(each.unread_bytes, each.unread) for each in by_age + by_size] == [(0, None), (sizes[0], unread)]


def test_nothing_is_deleted_for_want_of_room_that_can_be_compressed(tmp_path: Path) -> None:
    """As long as there is a segment to compress, size deletes neither it nor an archive; age does."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    archived(tmp_path, files[0])
    full = RetentionLimits(max_age_s=1e12, max_bytes=1)

    assert enforce(tmp_path, full, active=files[4:], now_ns=clock.now_ns, compressible=anything) == []

    old = RetentionLimits(max_age_s=3.5 * DAY, max_bytes=1)
    aged = enforce(tmp_path, old, active=files[4:], now_ns=clock.now_ns, compressible=anything)
    archived(tmp_path, *files[2:4])
    rest = enforce(tmp_path, full, active=files[4:], now_ns=clock.now_ns, compressible=anything)

    assert [(each.reason, bool(each.archive)) for each in aged + rest] == [("age", True), ("age", False), ("size", True), ("size", True)]


def test_segment_is_compressed_when_it_was_read_or_a_day_old_or_room_is_short(tmp_path: Path) -> None:
    """Compressed are segments that the agent has read, then those of a day, then for want of room the oldest, and nothing twice."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    size = sum(path.stat().st_size for path in files)

    def due(limits: RetentionLimits, positions: Positions | None, after_s: float) -> list[str]:
        found = to_compress(
            tmp_path,
            limits,
            active=files[4:],
            now_ns=clock.now_ns,
            positions=positions,
            compressible=lambda file: not file.endswith(files[3].name),
            after_s=after_s,
        )
        return [each.path.name for each in found]

    assert due(ROOMY, NOTHING_KNOWN, 100 * DAY) == []
    assert due(ROOMY, read_to_the_end(files[1:3]), 100 * DAY) == [path.name for path in files[1:3]]
    assert due(ROOMY, NOTHING_KNOWN, 3.5 * DAY) == [path.name for path in files[:2]]
    assert due(ROOMY, None, 0) == [path.name for path in files[:3]]
    assert due(RetentionLimits(1e12, size), NOTHING_KNOWN, 100 * DAY) == [files[0].name]
    assert due(RetentionLimits(1e12, 1), read_to_the_end(files[2:3]), 100 * DAY) == [path.name for path in files[:3]]

    archived(tmp_path, files[0])

    assert due(ROOMY, None, 0) == [path.name for path in files[1:3]]


def test_segment_and_archive_that_a_kill_left_are_one(tmp_path: Path) -> None:
    """If a kill left both, their bytes count, the segment is what may be compressed, and a deletion removes both."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    content = files[0].read_bytes()
    archived(tmp_path, files[0])
    files[0].write_bytes(content)
    stock = take_stock(tmp_path, active=(), positions=None, proved=())
    total = sum(path.stat().st_size for path in [*files, archive_of(files[0])])
    os.utime(files[0], (0, 0))
    deleted = enforce(tmp_path, RetentionLimits(), active=files[1:], now_ns=clock.now_ns)

    assert (total, [f"show_locks/{path.name}" for path in files[::-1]]) == (stock.total, [each.file for each in stock.candidates])
    assert [files[0].name] == names(deleted)
    assert not archive_of(files[0]).exists()


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("var/lib/alloy/data/loki.source.file.sqmon/positions.yml", 'positions:\n  ? path: {}\n    labels: "{{}}"\n  : "12"\n'),
        ("var/lib/promtail/positions.yaml", 'positions:\n  {}: "12"\n'),
        ("var/lib/vlagent/vlagent-file-checkpoints.json", '[{{"path":"{}","offset":12}}]'),
    ],
)
def test_positions_of_a_neighbour_are_found(tmp_path: Path, place: str, content: str) -> None:
    """The positions file of an agent on the same host is found where the shipped configurations have it, if it tells of our files."""
    log_dir, path = tmp_path / "logs", tmp_path / place
    path.parent.mkdir(parents=True)

    assert find(log_dir, None, tmp_path).path is None

    path.write_text(content.format("/elsewhere/a/a.jsonl"), "utf-8")

    assert find(log_dir, None, tmp_path).path is None

    segment = log_dir / "show_locks" / "x.jsonl"
    path.write_text(content.format(segment), "utf-8")
    found = find(log_dir, None, tmp_path)

    assert (path, "") == (found.path, found.problem)
    assert found.positions is not None
    assert {segment: 12} == found.positions.offsets


def test_positions_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """A file that was given is never replaced by another, and why nothing can be read from it is told."""
    missing, other = tmp_path / "positions.yml", tmp_path / "other"
    other.write_text("[", "utf-8")

    assert (missing, None, f"{missing}: can't be read: no such file or directory") == find(tmp_path, missing)
    assert f"{other}: is no positions file of Alloy, Promtail or vlagent" == find(tmp_path, other).problem


def test_proved_segments_go_first_and_are_compressed_at_once(tmp_path: Path) -> None:
    """What was seen in Loki is compressed without waiting for anything, and is the first to be deleted, as a segment and as an archive."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    proved = [files[3], files[4]]
    due = to_compress(
        tmp_path,
        ROOMY,
        active=[],
        now_ns=clock.now_ns,
        positions=NOTHING_KNOWN,
        compressible=lambda _: True,
        after_s=1e12,
        proved=proved,
    )
    seal = recounted(tmp_path, f"show_locks/{files[3].name}")
    compress(tmp_path, Source(seal.file, seal.bytes, seal.sha256, Knowledge.UNKNOWN, seal.bytes, None), lambda: None)
    total = sum(path.stat().st_size for path in (*segments(tmp_path), archive_of(files[3])))
    limits = RetentionLimits(max_age_s=1e12, max_bytes=total - 1)
    deleted = enforce(tmp_path, limits, active=[], now_ns=clock.now_ns, positions=NOTHING_KNOWN, proved=proved)

    assert [f"show_locks/{path.name}" for path in proved] == [each.file for each in due]
    assert [(files[3].name, Knowledge.PROVED, 0)] == [(each.file.partition("/")[2], each.knowledge, each.unread_bytes) for each in deleted]
