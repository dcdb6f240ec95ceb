"""Retention in the running service: what it deletes, and what its events say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sqmon.config.settings import SegmentOptions
from sqmon.simulator import Simulator
from sqmon.storage import proof_file
from sqmon.storage.proof_file import Proof
from sqmon.storage.recount import recounted
from tests.support.program import ended, service
from tests.support.segment_files import Stream, segments

METRICS = {"get_license_info": 0.3}


@pytest.mark.parametrize(
    ("known", "level", "extra"),
    [
        (None, "warning", {"target": "show_locks", "first_seq": 1, "last_seq": 5}),
        (0, "info", {}),
    ],
)
def test_deletion_tells_what_may_not_have_been_read(tmp_path: Path, known: int | None, level: str, extra: dict[str, object]) -> None:
    """A deletion says which records the agent is not known to have read, and calls none of them missing."""
    log_dir, positions_file = tmp_path / "logs", tmp_path / "positions.yaml"
    for _ in range(2):
        stream = Stream(log_dir, SegmentOptions())
        stream.poll(5, "x" * 1000)
        stream.writer.close()
    oldest = segments(log_dir)[0]
    size = oldest.stat().st_size
    positions_file.write_text("positions: {}\n" if known is None else f'positions:\n  {oldest}: "{size}"\n', "utf-8")
    options = ("--agent_positions", str(positions_file), "--retention_mb", "0.002", "--compress", "never")
    with Simulator() as simulator, service(simulator.port, log_dir, *options, metrics=METRICS) as running:
        event = running.wait_for("segment_deleted")
        running.wait_for_polls(*METRICS)
        gaps = running.events("gap")

    assert (event["level"], event["file"], event["reason"]) == (level, f"show_locks/{oldest.name}", "size")
    assert event.get("not_known_to_be_read") == (size if known is None else None)
    assert {name: event.get(name) for name in ("target", "first_seq", "last_seq") if name in event} == extra
    assert [gap for gap in gaps if gap["target"] == "show_locks"] == []


def test_full_directory_of_an_earlier_service_is_compressed_and_not_deleted(tmp_path: Path) -> None:
    """A service that starts with more than `--retention_mb` compresses before it deletes, even before it knows the seals."""
    log_dir = tmp_path / "logs"
    for _ in range(5):
        stream = Stream(log_dir, SegmentOptions())
        stream.poll(100, "x" * 1000)
        stream.writer.close()
    files = segments(log_dir)
    with Simulator() as simulator, service(simulator.port, log_dir, "--retention_mb", "0.3", metrics=METRICS) as running:
        events = [running.wait_for("segment_archived", file=f"show_locks/{path.name}") for path in files[:2]]
        running.wait_for_polls(*METRICS)
        deleted = running.events("segment_deleted")

    assert [] == deleted
    assert [100, 100] == [event["last_seq"] - event["first_seq"] + 1 for event in events]
    assert [event["bytes"] for event in events] == [event["not_known_to_be_read"] for event in events]


def test_proof_is_believed_with_the_hash_of_the_seal_alone(tmp_path: Path) -> None:
    """A segment that was proved is compressed though nothing is known of the agent, and told of; one with another hash is left alone."""
    log_dir, positions = tmp_path / "logs", tmp_path / "positions.yaml"
    positions.write_text("positions: {}\n", "utf-8")
    for _ in range(2):
        stream = Stream(log_dir, SegmentOptions())
        stream.poll(5, "x" * 1000)
        stream.writer.close()
    proved, doubtful = (f"show_locks/{path.name}" for path in segments(log_dir))
    claims = {proved: recounted(log_dir, proved).sha256, doubtful: "0" * 64}
    proof = Proof(url="http://loki", looked_ns=time.time_ns(), every_s=300, proved=False, problem="a/b is missing", segments=claims)
    proof_file.write(log_dir, proof)
    with Simulator() as simulator, service(simulator.port, log_dir, "--agent_positions", str(positions), metrics=METRICS) as running:
        archived = running.wait_for("segment_archived", file=proved)
        warning = running.wait_for("proof")
        told = ended("status", "--log_dir", str(log_dir), cwd=tmp_path).stdout
        verified, archives = running.events("segment_verified"), running.events("segment_archived")

    assert "not_known_to_be_read" not in archived
    assert [proved] == [event["file"] for event in archives]
    assert [(proved, claims[proved])] == [(event["file"], event["sha256"]) for event in verified]
    assert ("warning", "a/b is missing", False) == (warning["level"], warning["reason"], warning["proved"])
    assert "NOT PROVED in http://loki: a/b is missing (asked at " in told
