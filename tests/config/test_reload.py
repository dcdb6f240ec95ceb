"""The metrics file changes while the service runs."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from sqmon.config.file_watch import Watcher
from sqmon.config.reload import MetricsFile
from sqmon.errors import ConfigError
from sqmon.simulator import Simulator
from tests.support.program import service, wait_until

TWO = {"show_locks": 0.2, "show_cluster_nodes": 0.2}


def save(path: Path, metrics: Any) -> None:
    """Save as editors do: a new file, renamed over the old one."""
    draft = path.with_suffix(".draft")
    draft.write_text(metrics if isinstance(metrics, str) else json.dumps(metrics), "utf-8")
    draft.replace(path)


def test_only_what_changed_is_restarted(simulator: Simulator, tmp_path: Path) -> None:
    """Of three metrics one changes, one goes, one comes; the third keeps its worker, its run and its ticks."""
    with service(simulator.port, tmp_path / "logs", metrics={**TWO, "get_license_info": 0.2}) as run:
        run.wait_for_polls(*TWO, "get_license_info")
        kept, changed = run.worker("show_cluster_nodes"), run.worker("show_locks")
        before = run.latest()

        save(tmp_path / "metrics.json", {"show_locks": 0.3, "show_cluster_nodes": 0.2, "show_version": 0.2})

        event = run.wait_for("config_reloaded", after=before)
        run.wait_for_polls(*TWO, "show_version", after=event["seq"])
        assert (event["changed"], event["added"], event["removed"]) == ("show_locks", "show_version", "get_license_info")
        assert kept == run.worker("show_cluster_nodes")
        assert changed != run.worker("show_locks")
        assert run.events("poll", after=run.wait_for("worker_exit", target="get_license_info")["seq"], target="get_license_info") == []
        assert run.events("poll", target="show_cluster_nodes", status="skipped") == []
        assert run.end() == 0
        polls = run.events("poll", target="show_cluster_nodes")
        assert [*range(1, len(polls) + 1)] == [poll["poll"] for poll in polls]


def test_a_metric_never_has_two_workers(simulator: Simulator, tmp_path: Path) -> None:
    """The new worker of a changed metric waits until the old one, which hangs, is gone."""
    with service(simulator.port, tmp_path / "logs", metrics=TWO) as run:
        run.wait_for_polls(*TWO)
        simulator.set_fault("show_locks", step="fetch", action="hang")
        started = len(run.events("worker_start", target="show_locks"))
        before = run.latest()

        save(tmp_path / "metrics.json", {**TWO, "show_locks": 0.5})

        run.wait_for("config_reloaded", after=before)
        exits = run.wait_for("worker_exit", after=before, target="show_locks")
        start = run.wait_for("worker_start", after=before, target="show_locks")
        assert exits["seq"] < start["seq"]
        assert started + 1 == len(run.events("worker_start", target="show_locks"))
        assert simulator.stats()["max_sessions"] <= 2 * (len(TWO) + 1)


@pytest.mark.parametrize("content", ["", "{", '{"show_lock": 1}', '{"show_locks": -1}', '{"show_locks": {"interval": 1, "retries": 2}}'])
def test_invalid_file_changes_nothing(simulator: Simulator, tmp_path: Path, content: str) -> None:
    """Every problem is told with its place, and the running configuration stays."""
    with service(simulator.port, tmp_path / "logs", metrics=TWO) as run:
        run.wait_for_polls(*TWO)
        workers = [run.worker(metric) for metric in TWO]

        (tmp_path / "metrics.json").write_text(content, "utf-8")

        event = run.wait_for("config_rejected")
        run.wait_for_polls(*TWO)
        assert event["problems"].startswith(f"{tmp_path / 'metrics.json'}:")
        assert workers == [run.worker(metric) for metric in TWO]

        save(tmp_path / "metrics.json", {"show_locks": 0.2})

        run.wait_for("config_reloaded", removed="show_cluster_nodes")


def test_removed_file_changes_nothing_until_it_is_back(simulator: Simulator, tmp_path: Path) -> None:
    """A file that is gone is a file that is wrong."""
    with service(simulator.port, tmp_path / "logs", metrics=TWO) as run:
        run.wait_for_polls(*TWO)

        (tmp_path / "metrics.json").unlink()

        problem = f"{tmp_path / 'metrics.json'}: can't be read: No such file or directory"
        assert run.wait_for("config_rejected")["problems"] == problem
        run.wait_for_polls(*TWO)
        save(tmp_path / "metrics.json", {**TWO, "show_version": 1})
        assert run.wait_for("config_reloaded")["added"] == "show_version"


def test_swapped_links_of_kubernetes_are_noticed(simulator: Simulator, tmp_path: Path) -> None:
    """A config map is a link to a link to a directory, and an update swaps the link in the middle."""
    volume = tmp_path / "volume"
    for version, metrics in (("1", TWO), ("2", {**TWO, "show_version": 1})):
        (volume / f"..{version}").mkdir(parents=True)
        (volume / f"..{version}" / "metrics.json").write_text(json.dumps(metrics), "utf-8")
    (volume / "..data").symlink_to("..1")
    (volume / "metrics.json").symlink_to("..data/metrics.json")
    with service(simulator.port, tmp_path / "logs", "--metrics_file", str(volume / "metrics.json")) as run:
        run.wait_for_polls(*TWO)

        (volume / "..data_tmp").symlink_to("..2")
        (volume / "..data_tmp").replace(volume / "..data")

        assert run.wait_for("config_reloaded")["added"] == "show_version"


def test_sighup_reads_the_file_again(simulator: Simulator, tmp_path: Path) -> None:
    """A file that changed where nobody could see it (another host's, say) is read on SIGHUP; without a change nothing happens."""
    with service(simulator.port, tmp_path / "logs", metrics=TWO) as run:
        run.wait_for_polls(*TWO)

        os.kill(run.pid, signal.SIGHUP)

        run.wait_for_polls(*TWO)
        assert run.events("config_reloaded") + run.events("worker_exit") == []
        assert run.end() == 0


def test_storm_of_saves_ends_with_the_last_one(simulator: Simulator, tmp_path: Path) -> None:
    """Two thousand saves as fast as the disk takes them: the last one wins, and a metric that none of them changes misses nothing."""
    with service(simulator.port, tmp_path / "logs", metrics=TWO) as run:
        run.wait_for_polls(*TWO)
        path, before = tmp_path / "metrics.json", run.latest()

        for number in range(2000):
            text = json.dumps({**TWO, "show_locks": 1 + number % 5})
            path.write_text(text if number % 3 else text[:-1], "utf-8")
        save(path, {**TWO, "get_license_info": 0.2})

        run.wait_for_polls("get_license_info", after=before)
        wait_until(lambda: run.events("config_reloaded")[-1]["added"] == "get_license_info")
        run.wait_for_polls("show_cluster_nodes")
        assert run.events("poll", target="show_cluster_nodes", status="skipped") == []
        assert len(run.events("worker_start", target="show_cluster_nodes")) == 1
        assert len(run.events("config_reloaded")) + len(run.events("config_rejected")) < 50


def test_half_written_file_is_not_called_wrong(tmp_path: Path) -> None:
    """A reading that falls into a save is repeated before anybody is told."""
    path = tmp_path / "m.json"
    save(path, {"show_locks": 1})
    file = MetricsFile(path, None)

    path.write_text('{"show_locks": 2, "show_clu', "utf-8")
    file.touched(10.0)
    assert file.reread(10.0) is None
    assert file.due == 10.25

    save(path, {"show_locks": 2})
    file.touched(10.1)
    metrics = file.reread(10.25)

    assert metrics is not None
    assert [metric.interval for metric in metrics] == [2.0]
    assert file.due == float("inf")


def test_wrong_file_under_a_storm_is_called_wrong_after_two_seconds(tmp_path: Path) -> None:
    """Somebody who saves nonsense all the time is told so nevertheless."""
    path = tmp_path / "m.json"
    save(path, {"show_locks": 1})
    file, now = MetricsFile(path, None), 10.0
    path.write_text("nonsense", "utf-8")
    told = False
    while not told and now < 13.0:
        now += 0.25
        file.touched(now)
        try:
            assert file.reread(now) is None
        except ConfigError as error:
            told = "is not JSON" in str(error)

    assert told
    assert 12.0 <= now <= 12.5


def test_reading_is_not_noticed_as_a_change(tmp_path: Path) -> None:
    """Our own reading of the file, and writes to its neighbours, wake nobody; a save does."""
    path = tmp_path / "m.json"
    save(path, {"show_locks": 1})
    noticed: list[float] = []
    watcher = Watcher(path, lambda: noticed.append(time.monotonic()))
    assert watcher.start() == ""
    try:
        path.read_bytes()
        (tmp_path / "neighbour").write_text("x", "utf-8")
        # The kernel reports in order: what came before the save is known when the save is.
        save(path, {"show_locks": 2})
        wait_until(lambda: noticed)
        first = len(noticed)
        path.read_bytes()
        (tmp_path / "neighbour").write_text("y", "utf-8")
        (tmp_path / "m.json").touch()
        save(path, {"show_locks": 3})
        wait_until(lambda: len(noticed) > first)
    finally:
        watcher.stop()

    # Two saves, each a rename seen at its one end that has the file's name (and touch closes the file once).
    assert len(noticed) <= 4
