"""Several clusters from one service, with the real program: each on its own, and none of them a burden to another."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any, Iterator

import pytest

from sqmon.simulator import Simulator
from sqmon.storage.directory_lock import is_locked
from tests.health.test_prometheus import scrape
from tests.support.loki import free_port
from tests.support.program import QUICK, Service, ended, service, wait_until


class Files:
    """A directory of clusters."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.put("_defaults", host="127.0.0.1", password_file="password", metrics=QUICK)
        (path / "password").write_text("sqream\n", "utf-8")

    def put(self, name: str, **values: Any) -> Path:
        """Write the file of a cluster, as a whole."""
        new = self.path / f".{name}.new"
        new.write_text(json.dumps(values), "utf-8")
        return new.rename(self.path / f"{name}.json")

    def remove(self, name: str) -> None:
        """Remove the file of a cluster."""
        (self.path / f"{name}.json").unlink()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A directory of clusters that share everything but their ports."""
    return Files(tmp_path / "clusters")


@contextlib.contextmanager
def watching(files: Files, log_dir: Path, *options: str) -> Iterator[Service]:
    """Run a service that watches the clusters of a directory."""
    with service(1, log_dir, "--clusters_dir", str(files.path), *options) as run:
        yield run


@pytest.fixture
def second() -> Iterator[Simulator]:
    """The database of another cluster."""
    with Simulator(rows_locks=3) as running:
        yield running


def test_each_cluster_has_a_directory_of_its_own(simulator: Simulator, second: Simulator, files: Files, tmp_path: Path) -> None:
    """Each cluster has the layout of a service alone: streams, lock, status; every line names it, and nothing lies beside them."""
    files.put("prod", port=simulator.port)
    files.put("dev", port=second.port)
    with watching(files, tmp_path / "logs") as run:
        prod, dev = run.cluster("prod"), run.cluster("dev")
        for each in (prod, dev):
            each.wait_for_polls(*QUICK)
        assert {"prod", "dev"} == {path.name for path in run.log_dir.iterdir()}
        assert all(is_locked(run.log_dir / name) for name in ("prod", "dev"))
        assert ("prod", "dev") == (prod.status().cluster, dev.status().cluster)
        assert run.end() == 0

    for name, rows, each in (("prod", 2, prod), ("dev", 3, dev)):
        lines = [*each.events(), *each.records("show_locks")]
        assert {name} == {line["cluster"] for line in lines}
        assert {rows} == {record["poll_rows"] for record in each.records("show_locks")}
        assert each.events()[-1]["event"] == "stop"
        assert not is_locked(each.log_dir)
        each.accounted("show_locks")


def test_cluster_comes_and_goes_with_its_file(simulator: Simulator, second: Simulator, files: Files, tmp_path: Path) -> None:
    """A file that is added, changed or removed begins, changes or ends its cluster, and the other one notices nothing."""
    files.put("prod", port=simulator.port)
    with watching(files, tmp_path / "logs") as run:
        prod, dev = run.cluster("prod"), run.cluster("dev")
        prod.wait_for_polls(*QUICK)

        files.put("dev", port=second.port)
        wait_until(dev.log_dir.exists)
        dev.wait_for_polls(*QUICK)
        files.put("dev", port=second.port, metrics={"show_locks": 0.2, "show_version": 0.2})
        changed = dev.wait_for("config_reloaded")
        dev.wait_for_polls("show_version")
        files.remove("dev")
        stopped = dev.wait_for("stop")
        wait_until(lambda: not is_locked(dev.log_dir))
        dev.accounted("show_locks")

        assert ("show_version", "get_license_info", "") == (changed["added"], changed["removed"], changed["changed"])
        assert stopped["reason"] == "the cluster was removed"
        files.put("dev", port=second.port)
        again = dev.wait_for("gap", after=0, target="show_locks")
        assert "stopped" == again["reason"]
        assert [] == prod.events("worker_exit") == prod.events("config_reloaded") == prod.events("gap")
        assert run.end() == 0


def test_wrong_file_leaves_its_cluster_as_it_is(simulator: Simulator, second: Simulator, files: Files, tmp_path: Path) -> None:
    """A mistake changes nothing and is told; the file of a new cluster that is wrong polls nothing, and its directory says why."""
    files.put("prod", port=simulator.port)
    with watching(files, tmp_path / "logs") as run:
        prod, dev = run.cluster("prod"), run.cluster("dev")
        prod.wait_for_polls(*QUICK)

        files.put("prod", port=simulator.port, hots="127.0.0.1")
        rejected = prod.wait_for("config_rejected")
        files.put("dev", port="5000")
        new = dev.wait_for("config_rejected")
        prod.wait_for_polls(*QUICK)
        wait_until(lambda: prod.status().problems and dev.status().problems)
        files.put("dev", port=second.port)
        dev.wait_for_polls(*QUICK)
        files.put("prod", port=simulator.port)
        prod.wait_for("config_reloaded")
        wait_until(lambda: not prod.status().problems and not dev.status().problems)

        assert rejected["problems"] == f"{files.path / 'prod.json'}: hots: is unknown; did you mean host?"
        assert new["problems"] == f"{files.path / 'dev.json'}: port: expected `int`, got `str`"
        assert [] == prod.events("worker_exit")
        assert run.end() == 0


def test_another_address_opens_the_cluster_anew(simulator: Simulator, second: Simulator, files: Files, tmp_path: Path) -> None:
    """A cluster whose connection changes is closed and opened again, with a gap for the time between."""
    files.put("prod", port=simulator.port)
    with watching(files, tmp_path / "logs") as run:
        prod = run.cluster("prod")
        prod.wait_for_polls(*QUICK)
        files.put("prod", port=second.port)
        prod.wait_for("stop", reason="the cluster's file has changed")
        prod.wait_for("gap", target="show_locks", reason="stopped")
        wait_until(lambda: prod.records("show_locks")[-1]["poll_rows"] == 3)
        prod.accounted("show_locks")
        assert run.end() == 0


def test_clusters_that_are_down_or_refuse_do_not_hold_the_others(
    simulator: Simulator, second: Simulator, files: Files, tmp_path: Path
) -> None:
    """At the start one is down and one refuses the login, once; the third is polled, and the first as soon as it is there."""
    port = free_port()
    second.set_password("another")
    files.put("down", port=port)
    files.put("prod", port=simulator.port)
    files.put("strict", port=second.port)
    with watching(files, tmp_path / "logs") as run:
        down, prod, strict = (run.cluster(name) for name in ("down", "prod", "strict"))
        prod.wait_for_polls(*QUICK)
        unreachable = down.wait_for("check", check="check_sqream_connection", verdict="retry")
        refused = strict.wait_for("login_paused")
        wait_until(lambda: not any(metric.healthy for each in (down, strict) for metric in each.status().metrics))
        with Simulator(port=port):
            down.wait_for_polls(*QUICK)
            gap = down.wait_for("gap", target="show_locks")
            assert run.end() == 0

    assert unreachable["text"] in gap["reason"]
    assert "wrong password" in refused["reason"]
    assert second.stats()["failed_logins"] == 1
    assert [] == prod.events("worker_exit", kind="connection") == prod.events("login_paused")


def test_pause_of_a_cluster_outlasts_the_service(simulator: Simulator, second: Simulator, files: Files, tmp_path: Path) -> None:
    """The next start keeps to the pause of a cluster that refused a login, and lets the other one in."""
    second.set_password("another")
    files.put("prod", port=simulator.port)
    files.put("strict", port=second.port)
    with watching(files, tmp_path / "logs") as run:
        run.cluster("strict").wait_for("login_paused")
        assert run.end() == 0
    with watching(files, tmp_path / "logs") as run:
        run.cluster("prod").wait_for_polls(*QUICK)
        told = wait_until(lambda: run.cluster("strict").events("check", check="check_sqream_connection")[1:])
        assert run.end() == 0

    assert told[0]["text"].startswith("logins are paused until ")
    assert second.stats()["failed_logins"] == 1


def test_killed_service_goes_on_where_it_was(simulator: Simulator, second: Simulator, files: Files, tmp_path: Path) -> None:
    """After kill -9 no seq is doubled and none is missing, in any cluster, and each metric has its gap."""
    files.put("prod", port=simulator.port)
    files.put("dev", port=second.port)
    with watching(files, tmp_path / "logs") as run:
        for name in ("prod", "dev"):
            run.cluster(name).wait_for_polls(*QUICK)
        os.kill(run.pid, signal.SIGKILL)
        wait_until(run.fell_silent)
    with watching(files, tmp_path / "logs") as run:
        for name in ("prod", "dev"):
            each = run.cluster(name)
            for metric in QUICK:
                each.wait_for("gap", target=metric, reason="killed")
            each.wait_for_polls(*QUICK)
            each.accounted("show_locks")
        assert run.end() == 0


def test_second_start_is_refused(simulator: Simulator, second: Simulator, files: Files, tmp_path: Path) -> None:
    """Of two services for the same clusters the second one ends at once and says who has the directory."""
    files.put("prod", port=simulator.port)
    files.put("dev", port=second.port)
    with watching(files, tmp_path / "logs") as run:
        run.cluster("dev").wait_for_polls(*QUICK)
        refused = ended("run", "--clusters_dir", str(files.path), "--log_dir", str(run.log_dir), cwd=tmp_path)
        run.cluster("prod").wait_for_polls(*QUICK)
        assert run.end() == 0

    assert 1 == refused.code
    assert (
        refused.stderr
        == f"sqmon: {run.log_dir / 'dev'}: sqmon is already running here (pid {run.pid}); stop it or give another --log_dir\n"
    )


def test_directory_that_another_service_has_is_taken_when_it_is_free(
    simulator: Simulator, second: Simulator, files: Files, tmp_path: Path
) -> None:
    """A new cluster whose directory is somebody else's is not polled until that one is gone, and the log says so."""
    files.put("prod", port=simulator.port)
    log_dir = tmp_path / "logs"
    with service(second.port, log_dir / "dev", metrics=QUICK) as alone:
        alone.wait_for_polls(*QUICK)
        with watching(files, log_dir) as run:
            run.cluster("prod").wait_for_polls(*QUICK)
            files.put("dev", port=second.port)
            wait_until(lambda: f"sqmon is already running here (pid {alone.pid})" in run.stderr)
            assert alone.end() == 0
            dev = run.cluster("dev")
            wait_until(lambda: [event for event in dev.events("start") if event.get("cluster") == "dev"])
            assert run.end() == 0


def test_mistakes_at_the_start_are_refused_as_a_whole(simulator: Simulator, files: Files, tmp_path: Path) -> None:
    """With one wrong file nothing starts: every mistake is told with its place, and nothing is written."""
    files.put("prod", port=simulator.port)
    files.put("dev", port=0, user=7)
    files.put("a b", port=5000)
    refused = ended("run", "--clusters_dir", str(files.path), "--log_dir", "logs", cwd=tmp_path)

    assert 1 == refused.code
    assert f"sqmon: {files.path / 'dev.json'}: port: expected `int` >= 1\n" in refused.stderr
    assert f"sqmon: {files.path / 'a b.json'}: a b can't be the name of a cluster" in refused.stderr
    assert not (tmp_path / "logs").exists()


def test_gauges_are_told_apart(simulator: Simulator, second: Simulator, files: Files, tmp_path: Path) -> None:
    """A scrape has every metric of every cluster, labelled with it, and forgets the gauges of one that was removed."""
    port = free_port()
    files.put("prod", port=simulator.port)
    files.put("dev", port=second.port)
    with watching(files, tmp_path / "logs", "--metrics_port", str(port)) as run:
        for name in ("prod", "dev"):
            run.cluster(name).wait_for_polls(*QUICK)
        wait_until(lambda: scrape(port).get('sqmon_healthy{cluster="dev",target="show_locks"}') == 1)
        samples = scrape(port)
        files.remove("dev")
        wait_until(lambda: 'sqmon_healthy{cluster="dev",target="show_locks"}' not in scrape(port))
        left = scrape(port)
        assert run.end() == 0

    assert samples['sqmon_config_ok{cluster="prod"}'] == samples['sqmon_config_ok{cluster="dev"}'] == 1
    assert 'sqmon_config_ok{cluster="dev"}' not in left
    assert left['sqmon_healthy{cluster="prod",target="show_locks"}'] == 1
