"""What the commands say of several clusters at once, and of one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

import pytest

from sqmon.simulator import Simulator
from tests.supervisor.test_clusters import Files, watching
from tests.support.loki import free_port
from tests.support.program import QUICK, Ended, Service, ended, wait_until


@pytest.fixture
def files(simulator: Simulator, tmp_path: Path) -> Files:
    """Two clusters, of which one is down."""
    found = Files(tmp_path / "clusters")
    found.put("prod", port=simulator.port)
    found.put("down", port=free_port())
    return found


@pytest.fixture
def run(files: Files, tmp_path: Path) -> Iterator[Service]:
    """A service that watches both and has said so."""
    with watching(files, tmp_path / "logs") as running:
        running.cluster("prod").wait_for_polls(*QUICK)
        wait_until(lambda: all(metric.polls for metric in running.cluster("prod").status().metrics))
        wait_until(lambda: not any(metric.healthy for metric in running.cluster("down").status().metrics))
        yield running


def objects(end: Ended) -> dict[str, Any]:
    """Return the objects that a command printed, a line each, by the names of their clusters."""
    return {told["cluster"]: told for told in map(json.loads, end.stdout.splitlines())}


def test_status_is_a_line_for_each_and_the_worst_exit_code(run: Service, files: Files) -> None:
    """Each cluster has a line, the exit code is the worst, --cluster shows one whole, and one that was removed is left out."""
    log_dir = str(run.log_dir)
    every, one = (ended("status", "--log_dir", log_dir, *words, cwd=run.log_dir) for words in ((), ("--cluster", "prod")))
    documents = objects(ended("status", "--log_dir", log_dir, "--json", cwd=run.log_dir))
    files.remove("down")
    run.cluster("down").wait_for("stop")
    wait_until(lambda: ended("status", "--log_dir", log_dir, cwd=run.log_dir).code == 0)
    left = ended("status", "--log_dir", log_dir, cwd=run.log_dir)

    assert every.code == 1
    assert every.stdout.splitlines() == [
        "down  DEGRADED: 2 of 2 metrics fail: show_locks, get_license_info",
        "prod  OK: 2 of 2 metrics are well",
    ]
    assert (one.code, one.stdout.splitlines()[0]) == (0, "OK: 2 of 2 metrics are well")
    assert {"down": False, "prod": True} == {name: each["healthy"] for name, each in documents.items()}
    assert left.stdout.startswith("OK: 2 of 2 metrics are well")
    assert run.end() == 0


def test_history_and_proof_are_told_for_each(run: Service) -> None:
    """History and proof come one cluster after the other, or of the one that is named; an unknown one is refused."""
    words = ("--log_dir", str(run.log_dir))
    gaps = ended("history", "gaps", *words, "--json", cwd=run.log_dir)
    shown = ended("verify", *words, cwd=run.log_dir)
    proved = objects(ended("verify", *words, "--json", cwd=run.log_dir))
    one = json.loads(ended("verify", *words, "--json", "--cluster", "prod", cwd=run.log_dir).stdout)
    unknown = ended("verify", *words, "--cluster", "prdo", cwd=run.log_dir)
    assert run.end() == 0

    assert {"down", "prod"} == set(objects(gaps))
    assert [line for line in shown.stdout.splitlines() if line.startswith("cluster ")] == ["cluster down", "cluster prod"]
    assert {"down": True, "prod": True} == {name: each["proved"] for name, each in proved.items()}
    assert one["proved"]
    assert (unknown.code, unknown.stderr) == (1, f"sqmon: {run.log_dir}: holds no cluster 'prdo'; there are down, prod\n")


def test_check_and_once_look_at_every_cluster(files: Files, tmp_path: Path) -> None:
    """Both take --clusters_dir; a cluster that is down is named, and the others are looked at all the same."""
    words = ("--clusters_dir", str(files.path))
    check = ended("check", *words, "--json", "--loki_port", "1", cwd=tmp_path)
    once = ended("once", *words, "show_locks", cwd=tmp_path)
    one = ended("once", *words, "--cluster", "prod", "show_locks", cwd=tmp_path)
    files.put("down", hots="127.0.0.1")
    wrong = ended("check", *words, "--offline", cwd=tmp_path)

    verdicts = [(told.get("cluster"), told["check"], told["verdict"]) for told in map(json.loads, check.stdout.splitlines())]
    assert check.code == once.code == wrong.code == 1
    assert ("down", "check_sqream_connection", "failed") in verdicts
    assert ("prod", "poll_show_locks", "passed") in verdicts
    assert 1 == sum(name == "check_loki_connection" for _, name, _ in verdicts)
    assert ["prod", "prod"] == [json.loads(line)["cluster"] for line in once.stdout.splitlines()]
    assert once.stderr.startswith("sqmon: down: ")
    assert (one.code, one.stderr, 2) == (0, "", len(one.stdout.splitlines()))
    assert "hots: is unknown; did you mean host?" in wrong.stdout
