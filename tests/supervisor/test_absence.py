"""What the events of earlier services tell about the time before the start."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from sqmon.clock import SystemClock, utc_stamp
from sqmon.records.encoder import Encoder
from sqmon.storage.compression import Source, compress
from sqmon.storage.knowledge import Knowledge
from sqmon.storage.recount import recounted
from sqmon.supervisor.absence import Absence, LookBack, booted_ns, look_back

SECOND = 10**9
LOCKS, NODES = "show_locks", "show_cluster_nodes"


class Past:
    """The events that earlier services wrote, one a second; `run` begins the next service."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_ns = 1_795_521_600 * SECOND
        self.runs = 0
        self.run()

    def run(self) -> None:
        """Begin a run of the service."""
        self.runs += 1
        self._encoder = Encoder("sqmon", f"service-{self.runs}", last_ns=self.now_ns)
        self.event("start")

    def event(self, event: str, **fields: Any) -> int:
        """Write an event and return its time."""
        self.now_ns += SECOND
        self.write(self._encoder.event("info", event, fields, now_ns=self.now_ns).data)
        return self.now_ns

    def poll(self, target: str, status: str = "ok") -> int:
        """Write the event of a poll and return its time."""
        return self.event("poll", target=target, target_run_id=f"worker-{self.runs}", status=status, error=None)

    def gap(self, target: str, until_ns: int, **fields: Any) -> None:
        """Write the event of a gap."""
        self.event("gap", target=target, target_run_id=f"worker-{self.runs}", reason="x", since="", until=utc_stamp(until_ns), **fields)

    def write(self, data: bytes) -> None:
        """Append bytes to the file."""
        with self.path.open("ab") as file:
            file.write(data)

    def look_back(self, *metrics: str, host_booted_ns: int = 0, max_bytes: int = 1 << 20) -> LookBack:
        """Return what a service that starts now finds."""
        return look_back([self.path], metrics or (LOCKS, NODES), host_booted_ns=host_booted_ns, max_bytes=max_bytes)


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """The stream of a first service that has started."""
    return Past(tmp_path / "sqmon.jsonl")


def test_stopped_service_has_said_so(past: Past) -> None:
    """After a stop, each metric was last seen at the end of its last good poll."""
    locks, nodes = past.poll(LOCKS), past.poll(NODES, "empty")
    past.poll(LOCKS, "error")
    past.poll(NODES, "timeout")
    past.event("stop")
    expected = {LOCKS: Absence(locks, "stopped", "worker-1"), NODES: Absence(nodes, "stopped", "worker-1")}

    assert LookBack(expected, [], utc_stamp(locks)) == past.look_back()
    assert expected == past.look_back(host_booted_ns=past.now_ns + SECOND).absences


def test_service_without_its_last_word_was_killed_or_went_down_with_its_host(past: Past) -> None:
    """A service without a `stop` was killed, or went down with its host if that was started since."""
    locks = past.poll(LOCKS)

    for booted, reason in ((0, "killed"), (past.now_ns, "killed"), (past.now_ns + 1, "host was down")):
        assert {LOCKS: Absence(locks, reason, "worker-1")} == past.look_back(host_booted_ns=booted).absences


def test_reason_is_that_of_the_service_that_polled_last(past: Past) -> None:
    """The reason is how the service that polled last ended, even if others that never polled came after it."""
    locks = past.poll(LOCKS)
    past.event("stop")
    past.run()
    nodes = past.poll(NODES)
    past.run()
    past.event("stop")

    assert {LOCKS: Absence(locks, "stopped", "worker-1"), NODES: Absence(nodes, "killed", "worker-2")} == past.look_back().absences


def test_absence_begins_where_a_gap_that_was_told_ends(past: Past) -> None:
    """An absence begins where the last gap that was told ends; gaps of lost records don't count."""
    locks = past.poll(LOCKS)
    past.gap(LOCKS, past.now_ns + 5, first_seq=1, last_seq=2)

    assert locks == past.look_back().absences[LOCKS].since_ns

    past.gap(LOCKS, past.now_ns + 7)
    until = past.now_ns - SECOND + 7
    past.gap(LOCKS, past.now_ns, first_seq=1, last_seq=2)
    past.event("stop")

    assert {LOCKS: Absence(until, "stopped", "worker-1")} == past.look_back().absences


def test_metric_that_nobody_wanted_has_no_absence(past: Past) -> None:
    """A metric that was never polled, or was taken out of the metrics file, has no absence."""
    past.poll(LOCKS)
    past.poll(NODES)
    past.event("config_reloaded", changed="", added="", removed=f"x, {NODES}")
    past.event("stop")

    assert ([LOCKS], []) == ([*past.look_back(LOCKS, NODES, "x", "y").absences], past.look_back(LOCKS, NODES, "x", "y").unknown)


def test_bound_is_kept_and_said(past: Past) -> None:
    """A metric whose last poll is too far back to be read is reported as unknown, not as never polled."""
    past.poll(NODES)
    for _ in range(20):
        locks = past.poll(LOCKS)
    found = past.look_back(max_bytes=2000)

    assert ({LOCKS: Absence(locks, "killed", "worker-1")}, [NODES]) == (found.absences, found.unknown)
    assert utc_stamp(locks - 19 * SECOND) < found.read_back_to <= utc_stamp(locks)


def test_whatever_else_is_in_the_file_is_no_event(past: Past) -> None:
    """Records with columns of any name and broken lines are not taken for events."""
    locks = past.poll(LOCKS)
    record = Encoder("show_locks", "r")
    columns = ("event", "target", "status", "text")
    for batch in record.rows(columns, [("poll", LOCKS, "ok", '"metric":"sqmon"')], poll=1, started_ns=past.now_ns + SECOND):
        past.write(batch.data)
    past.write(b'{"metric":"sqmon"}\n\xff"metric":"sqmon"\n{"ts":"x","run_id":"","metric":"sqmon","event":"stop"}\n\n')
    past.write(b'{"ts":"2026-11-24T15:30:50.123456000Z","run_id":"service-1","metric":"sqmon","event":"stop"')

    assert {LOCKS: Absence(locks, "killed", "worker-1")} == past.look_back().absences


def test_look_back_is_a_matter_of_a_moment(past: Past) -> None:
    """Looking back doesn't hold up the start."""
    line = Encoder("sqmon", "r").event("info", "poll", {"target": LOCKS, "status": "error", "error": "x" * 100}, now_ns=past.now_ns).data
    past.write(line * (9_000_000 // len(line)))
    began = time.process_time()
    found = look_back([past.path], [LOCKS], host_booted_ns=0)

    assert ({}, [LOCKS]) == (found.absences, found.unknown)
    assert time.process_time() - began < 0.5


def test_host_was_started_before_this_process() -> None:
    """The host's start is told in nanoseconds since 1970."""
    assert 0 < booted_ns(SystemClock()) < time.time_ns()


def test_compressed_events_tell_the_same(tmp_path: Path) -> None:
    """What is found is the same after the earlier events were compressed, whose archives are not even decompressed for that."""
    (tmp_path / "sqmon").mkdir()
    past = Past(tmp_path / "sqmon" / "sqmon-20261124T153050.001002Z-000001.jsonl")
    for _ in range(3):
        past.poll(NODES)
    for status in ("ok", "empty", "error"):
        past.poll(LOCKS, status)
    past.event("stop")
    past.run()
    past.poll(LOCKS, "timeout")
    found = past.look_back(LOCKS, NODES, "never_seen")
    seal = recounted(tmp_path, f"sqmon/{past.path.name}")
    compress(tmp_path, Source(seal.file, seal.bytes, seal.sha256, Knowledge.READ, 0, None), lambda: None)

    assert not past.path.exists()
    assert found == past.look_back(LOCKS, NODES, "never_seen")
    assert {LOCKS, NODES} == set(found.absences)
