"""The room that files take, and the forecast."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sqmon.config.settings import Retention
from sqmon.storage.agent_positions import Positions
from sqmon.storage.compression import Source, compress
from sqmon.storage.knowledge import Knowledge
from sqmon.storage.recount import recounted
from sqmon.storage.segment_names import SegmentName
from sqmon.storage.usage import Usage, forecast, usage_of

NOW_NS = 1_795_521_600 * 10**9
HOUR_NS = 3600 * 10**9
MIB = 1 << 20
LINE = b'{"ts":"2026-11-24T12:00:00.000000000Z","seq":1,"metric":"m","run_id":"r"}\n'


def segment(log_dir: Path, number: int, began_h: float, ended_h: float, lines: int) -> Path:
    """Write a segment between two times, in hours before now."""
    (log_dir / "m").mkdir(exist_ok=True)
    path = log_dir / "m" / SegmentName(number, int(NOW_NS - began_h * HOUR_NS) // 1000).text("m")
    path.write_bytes(LINE * lines)
    os.utime(path, ns=(int(NOW_NS - ended_h * HOUR_NS),) * 2)
    return path


def test_usage_is_known_from_names_sizes_and_times(tmp_path: Path) -> None:
    """Plain and compressed bytes, the oldest, the rate of the last day, and what the agent has not read are told."""
    old, middle, new = segment(tmp_path, 1, 72, 48, 1000), segment(tmp_path, 2, 36, 12, 1000), segment(tmp_path, 3, 12, 0, 1000)
    seal = recounted(tmp_path, f"m/{middle.name}")
    compress(tmp_path, Source(seal.file, seal.bytes, seal.sha256, Knowledge.READ, 0, None), lambda: None)
    size = len(LINE) * 1000
    positions = Positions({old: size, new: size // 2}, NOW_NS)

    usage = usage_of(tmp_path, positions, now_ns=NOW_NS)

    assert (2, 2 * size, 1) == usage[:3]
    assert 0 < usage.archive_bytes < size / 10
    assert usage.oldest_ns == NOW_NS - 72 * HOUR_NS
    assert usage.bytes_per_day == pytest.approx(1.5 * size)  # half of the middle one, and the new one
    assert usage.compressed_ratio == pytest.approx(usage.archive_bytes / size)
    assert (size - size // 2, NOW_NS - 12 * HOUR_NS) == (usage.unread_bytes, usage.unread_since_ns)
    assert usage_of(tmp_path, None, now_ns=NOW_NS).unread_bytes is None
    assert usage_of(tmp_path / "nothing", None, now_ns=NOW_NS).oldest_ns is None


@pytest.mark.parametrize(
    ("retention", "reason", "seconds"),
    [
        (Retention(7 * 86400, 10_000 * MIB, 0, None), "age", 4 * 86400),
        (Retention(7 * 86400, 340 * MIB, 0, None), "size", 2 * 86400),
        (Retention(7 * 86400, 340 * MIB, 0, None, compress=False), "size", 0),
        (Retention(7 * 86400, 10_000 * MIB, 900 * MIB, None), "free_space", 1.8 * 86400),
        (Retention(86400, 10_000 * MIB, 0, None), "age", 0),
    ],
)
def test_first_limit_that_is_met_is_forecast(retention: Retention, reason: str, seconds: float) -> None:
    """Age, size and free space are weighed at the rate of the last day; what can be compressed is, before anything is deleted."""
    usage = Usage(
        segments=5,
        segment_bytes=200 * MIB,
        archives=10,
        archive_bytes=120 * MIB,
        oldest_ns=NOW_NS - 3 * 86400 * 10**9,
        bytes_per_day=1000 * MIB,
        compressed_ratio=0.1,
        unread_bytes=None,
        unread_since_ns=None,
    )
    if not retention.compress:
        usage = usage._replace(segment_bytes=300 * MIB)
    found = forecast(usage, retention, free_bytes=900 * MIB, now_ns=NOW_NS)

    assert found is not None
    assert found.reason == reason
    assert found.seconds == pytest.approx(seconds)
