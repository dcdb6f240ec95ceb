"""`sqmon verify`, on the files of the real program."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from sqmon.simulator import Simulator
from tests.support.program import ended, service

QUICK = {"show_locks": 0.2, "show_cluster_nodes": 0.2}


def test_files_of_a_service_are_proved_until_somebody_touches_them(simulator: Simulator, tmp_path: Path) -> None:
    """The files are proved while the service runs, after a kill and after a stop; an altered one is named with its seq."""
    log_dir = tmp_path / "logs"
    for number in (signal.SIGKILL, signal.SIGTERM):
        with service(simulator.port, log_dir, metrics=QUICK) as run:
            run.wait_for_polls(*QUICK)
            if number == signal.SIGTERM:
                run.wait_for("segment_sealed", file=f"show_locks/{min((log_dir / 'show_locks').iterdir()).name}")
            assert 0 == ended("verify", "--log_dir", str(log_dir), cwd=tmp_path).code
            os.kill(run.pid, number)
            run.process.wait()
        proved = ended("verify", str(log_dir), cwd=tmp_path)
        assert (0, "", True) == (proved.code, proved.stderr, proved.stdout.startswith("PROVED: "))
    first = min((log_dir / "show_locks").iterdir())
    first.write_bytes(first.read_bytes().replace(b'"seq":2,', b'"seq":3,', 1))

    found = ended("verify", str(log_dir), cwd=tmp_path)
    told = json.loads(ended("verify", str(log_dir), "--json", cwd=tmp_path).stdout)

    assert (1, "") == (found.code, found.stderr)
    assert found.stdout.startswith("NOT PROVED: ")
    assert f"  show_locks/{first.name}, seq 1-" in found.stdout
    assert not told["proved"]
    assert {"show_cluster_nodes", "show_locks", "sqmon"} == {stream["stream"] for stream in told["streams"]}
    assert {f"show_locks/{first.name}"} == {problem["file"] for problem in told["problems"]}
    assert "altered" in {problem["kind"] for problem in told["problems"]}


def test_directory_without_segments_is_an_error_in_one_line(tmp_path: Path) -> None:
    """A directory without segments is not proved, in one line."""
    assert (1, "", f"sqmon: {tmp_path}: no segments here; give the --log_dir of a service\n") == ended(
        "verify", str(tmp_path), cwd=tmp_path
    )
