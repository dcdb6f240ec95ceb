"""What is deleted, in which order, and above all what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sqmon.config.settings import SegmentOptions
from sqmon.storage.agent_positions import read_positions
from sqmon.storage.retention import Deleted, RetentionLimits, enforce
from tests.support.clocks import FakeClock
from tests.support.segment_files import Stream, records, segments, small_disk

DAY = 24 * 3600
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
    return sorted(set(segments(log_dir)) - before)


def names(deleted: list[Deleted]) -> list[str]:
    """The files that were deleted, in order."""
    return [each.file.partition("/")[2] for each in deleted]


def test_nothing_is_deleted_within_the_limits(tmp_path: Path) -> None:
    """The default limits keep a week and two gibibytes."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)

    assert enforce(tmp_path, RetentionLimits(), active=[], now_ns=clock.now_ns) == []
    assert segments(tmp_path) == files


def test_missing_directory_has_nothing_to_delete(tmp_path: Path) -> None:
    """The first turn comes before the first line."""
    assert enforce(tmp_path / "logs", RetentionLimits(max_bytes=0), active=[], now_ns=0) == []


def test_old_segments_go_by_their_last_line(tmp_path: Path) -> None:
    """By age everything goes, the newest too: its metric may be gone."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    first = enforce(tmp_path, RetentionLimits(max_age_s=3.5 * DAY), active=[], now_ns=clock.now_ns)
    clock.advance(30 * DAY)
    rest = enforce(tmp_path, RetentionLimits(), active=[], now_ns=clock.now_ns)

    assert [each.reason for each in first + rest] == ["age"] * 5
    assert names(first) == [path.name for path in files[:2]]
    assert segments(tmp_path) == []


def test_largest_total_over_all_metrics_deletes_the_oldest(tmp_path: Path) -> None:
    """Whichever metric they belong to, and no more than necessary."""
    clock = FakeClock()
    older, newer = five_segments(tmp_path, "a", clock), five_segments(tmp_path, "b", clock)
    total = sum(path.stat().st_size for path in older + newer)
    sizes = [path.stat().st_size for path in older]
    deleted = enforce(tmp_path, RetentionLimits(max_age_s=1e12, max_bytes=total - sizes[0] - 1), active=[], now_ns=clock.now_ns)

    assert deleted == [Deleted(f"a/{path.name}", size, "size", None) for path, size in zip(older[:2], sizes)]
    assert segments(tmp_path) == older[2:] + newer


def test_newest_of_each_metric_stays(tmp_path: Path) -> None:
    """It may have been opened since the caller looked."""
    clock = FakeClock()
    older, newer = five_segments(tmp_path, "a", clock), five_segments(tmp_path, "b", clock)
    enforce(tmp_path, RetentionLimits(max_age_s=1e12, max_bytes=0), active=[], now_ns=clock.now_ns)

    assert segments(tmp_path) == [older[-1], newer[-1]]


def test_active_segments_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the limits say, and however the path is written."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    monkeypatch.chdir(tmp_path)
    active = [files[0], Path("show_locks") / files[1].name]
    clock.advance(100 * DAY)
    enforce(Path(), RetentionLimits(max_age_s=1, max_bytes=0), active=active, now_ns=clock.now_ns)

    assert segments(tmp_path) == files[:2]


def test_free_space_is_kept(tmp_path: Path) -> None:
    """On a disk of its own: as many segments go as make up for what is missing."""
    with small_disk(tmp_path / "disk") as disk:
        clock = FakeClock()
        files = five_segments(disk, clock=clock)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        limits = RetentionLimits(max_age_s=1e12, min_free_bytes=free + files[0].stat().st_size + 1)
        deleted = enforce(disk, limits, active=[], now_ns=clock.now_ns)

        assert names(deleted) == [path.name for path in files[:2]]
        assert {each.reason for each in deleted} == {"free_space"}


def test_other_files_are_never_deleted(tmp_path: Path) -> None:
    """Neither strangers, nor links, nor a segment that lies in the directory of another metric."""
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


def test_segment_that_cannot_be_deleted_is_not_reported(tmp_path: Path) -> None:
    """A read-only directory is the administrator's word."""
    if os.geteuid() != 0:
        pytest.skip("needs to change the user for a while")
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(0o755)
    (tmp_path / "show_locks").chmod(0o755)
    os.seteuid(65534)
    try:
        deleted = enforce(tmp_path, RetentionLimits(max_age_s=0, max_bytes=0), active=[], now_ns=clock.now_ns)
    finally:
        os.seteuid(0)

    assert (deleted, segments(tmp_path)) == ([], files)


def test_unread_segments_go_last_and_what_was_missed_is_named(tmp_path: Path) -> None:
    """The agent has read the newest files, half of the oldest, and nothing of the second."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    third_line = len(b"".join(files[0].read_bytes().splitlines(keepends=True)[:2]))
    positions = {path: path.stat().st_size for path in files[2:]} | {files[0]: third_line}
    seqs = [record["ts"] for record in records(tmp_path)]
    limits = RetentionLimits(max_age_s=1, max_bytes=1)
    deleted = enforce(tmp_path, limits, active=[files[4]], now_ns=clock.now_ns, positions=positions)

    assert names(deleted) == [files[2].name, files[3].name, files[0].name, files[1].name]
    assert [each.reason for each in deleted] == ["age", "age", "size", "size"]
    assert [each.missed and (each.missed.first_seq, each.missed.last_seq) for each in deleted] == [None, None, (3, 5), (1, 5)]
    assert deleted[2].missed is not None
    assert (deleted[2].missed.metric, deleted[2].missed.since, deleted[2].missed.until) == ("show_locks", seqs[2], seqs[4])


def test_age_does_not_delete_what_the_agent_has_not_read(tmp_path: Path) -> None:
    """An agent that is down for longer than a week finds everything that fits on the disk."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    clock.advance(30 * DAY)

    assert enforce(tmp_path, RetentionLimits(), active=[], now_ns=clock.now_ns, positions={}) == []
    assert segments(tmp_path) == files


def test_half_a_line_left_by_a_kill_is_not_unread(tmp_path: Path) -> None:
    """The agent's position stays before it for ever, which must not keep the file for ever."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    positions = {path: path.stat().st_size for path in files}
    with files[0].open("ab") as file:
        file.write(b'{"ts":"2026')
    deleted = enforce(tmp_path, RetentionLimits(max_age_s=1), active=files[1:], now_ns=clock.now_ns + 10**12, positions=positions)

    assert [(each.reason, each.missed) for each in deleted] == [("age", None)]


def test_torn_last_line_is_not_counted_as_missed(tmp_path: Path) -> None:
    """It never was a record."""
    clock = FakeClock()
    files = five_segments(tmp_path, clock=clock)
    with files[0].open("ab") as file:
        file.write(b'{"ts":"2026')
    (files[1]).write_bytes(b'{"ts":"2026')
    limits = RetentionLimits(max_age_s=1e12, max_bytes=1)
    deleted = enforce(tmp_path, limits, active=files[2:], now_ns=clock.now_ns, positions={})

    assert [each.missed and (each.missed.first_seq, each.missed.last_seq) for each in deleted] == [None, (1, 5)]


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
        ("something: else\n", None),
    ],
)
def test_positions_of_both_agents_are_read(tmp_path: Path, text: str, expected: dict[str, int] | None) -> None:
    """Promtail's mapping and Alloy's keys of several lines; of several entries for a path the one that is behind."""
    (tmp_path / "positions.yml").write_text(text)

    assert read_positions(tmp_path / "positions.yml") == (expected if expected is None else {Path(k): v for k, v in expected.items()})


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_positions_that_cannot_be_read_are_unknown(tmp_path: Path, content: bytes | None) -> None:
    """Nobody can say then what the agent has missed."""
    path = tmp_path / "positions.yml"
    if content is not None:
        path.write_bytes(content)

    assert read_positions(path) is None
