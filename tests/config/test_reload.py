"""Changes of the metrics file while the service runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sqmon.config.file_watch import Watcher
from sqmon.config.reload import MetricsFile
from sqmon.errors import ConfigError, shown
from sqmon.simulator import Simulator
from tests.support.program import POWERLESS, service, wait_until

TWO = {"show_locks": 0.2, "show_cluster_nodes": 0.2}


def save(path: Path, metrics: Any) -> None:
    """Save as editors do: write a new file and rename it over the old one."""
    draft = path.with_suffix(".draft")
    draft.write_text(metrics if isinstance(metrics, str) else json.dumps(metrics), "utf-8")
    draft.replace(path)


def test_only_what_changed_is_restarted(simulator: Simulator, tmp_path: Path) -> None:
    """One metric changes, one goes, one comes, and the one that stays keeps its worker, its run and its ticks."""
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
    """An invalid file leaves the running configuration as it is, and every problem is told with its place."""
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
    """A file that is gone is treated as an invalid one."""
    with service(simulator.port, tmp_path / "logs", metrics=TWO) as run:
        run.wait_for_polls(*TWO)

        (tmp_path / "metrics.json").unlink()

        problem = f"{tmp_path / 'metrics.json'}: can't be read: no such file or directory"
        assert run.wait_for("config_rejected")["problems"] == problem
        run.wait_for_polls(*TWO)
        save(tmp_path / "metrics.json", {**TWO, "show_version": 1})
        assert run.wait_for("config_reloaded")["added"] == "show_version"


def test_swapped_links_of_kubernetes_are_noticed(simulator: Simulator, tmp_path: Path) -> None:
    """The update of a config map, which swaps a link in the middle of the path, is noticed."""
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
    """SIGHUP reads a file whose change could not be seen; without a change it does nothing."""
    with service(simulator.port, tmp_path / "logs", metrics=TWO) as run:
        run.wait_for_polls(*TWO)

        os.kill(run.pid, signal.SIGHUP)

        run.wait_for_polls(*TWO)
        assert run.events("config_reloaded") + run.events("worker_exit") == []
        assert run.end() == 0


def test_storm_of_saves_ends_with_the_last_one(simulator: Simulator, tmp_path: Path) -> None:
    """After two thousand saves as fast as the disk allows the last one counts, and a metric that none of them changes misses nothing."""
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
    """A reading in the middle of a save is repeated before anybody is told."""
    path = tmp_path / "m.json"
    save(path, {"show_locks": 1})
    file = MetricsFile(path, None)
    file.read()

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
    """A file that stays invalid while it is saved again and again is rejected after two seconds."""
    path = tmp_path / "m.json"
    save(path, {"show_locks": 1})
    file, now = MetricsFile(path, None), 10.0
    file.read()
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


def test_what_is_read_is_what_later_readings_are_compared_with(tmp_path: Path) -> None:
    """A change between the first reading and the first look is noticed, however long the start-up checks took."""
    path = tmp_path / "m.json"
    save(path, {"show_locks": 1})
    file = MetricsFile(path, None)
    file.read()
    save(path, {"show_locks": 2})

    assert [metric.interval for metric in file.reread(10.0) or []] == [2.0]
    assert file.reread(11.0) is None


def test_file_that_can_not_be_read_is_wrong_until_it_can(tmp_path: Path) -> None:
    """Each reason is told once, and the complaint ends when the earlier content can be read again."""
    path = tmp_path / "m.json"
    save(path, {"show_locks": 1})
    file = MetricsFile(path, None)
    file.read()
    path.rename(tmp_path / "aside")
    for number, reason in enumerate(("no such file or directory", "it is not a regular file")):
        if number:
            os.mkfifo(path)
        with pytest.raises(ConfigError, match=f"can't be read: {reason}"):
            file.reread(10.0 + number)
        assert file.reread(10.5 + number) is None

    (tmp_path / "aside").rename(path)

    assert [metric.interval for metric in file.reread(20.0) or []] == [1.0]


def test_change_during_the_checks_is_loaded_after_them(simulator: Simulator, tmp_path: Path) -> None:
    """An edit or a SIGHUP while the service waits for the database is neither lost nor harmful."""
    simulator.stop_worker()
    with service(simulator.port, tmp_path / "logs", "--startup_timeout", "60", metrics=TWO) as run:
        run.wait_for("check", verdict="retry")

        save(tmp_path / "metrics.json", {**TWO, "show_version": 0.2})
        os.kill(run.pid, signal.SIGHUP)
        simulator.start_worker()

        assert run.wait_for("config_reloaded")["added"] == "show_version"
        run.wait_for_polls(*TWO, "show_version")
        assert run.end() == 0


def test_sighup_never_ends_a_service(simulator: Simulator, tmp_path: Path) -> None:
    """SIGHUP ends neither the supervisor nor the forkserver, at any time."""

    def ignores_or_catches() -> bool:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{run.pid}/status").read_text("utf-8").splitlines())
        return bool((int(status["SigIgn"], 16) | int(status["SigCgt"], 16)) & 1 << signal.SIGHUP - 1)

    with service(simulator.port, tmp_path / "logs", metrics=TWO) as run:
        wait_until(ignores_or_catches)
        while len(run.events("poll")) < 10:
            os.killpg(run.pid, signal.SIGHUP)
            assert not run.ended, run.stderr
            time.sleep(0.001)
        assert run.events("worker_exit") == []
        assert run.end() == 0


def swapped_directory(place: Path, version: Any) -> None:
    """Rename the file's directory and make it again."""
    (place / "etc").rename(place / "old")
    (place / "etc").mkdir()
    save(place / "etc" / "metrics.json", version)


def swapped_link(place: Path, version: Any) -> None:
    """Point the link that is the file to another file."""
    (place / "elsewhere").mkdir()
    save(place / "elsewhere" / "new.json", version)
    (place / "etc" / "link").symlink_to("../elsewhere/new.json")
    (place / "etc" / "link").replace(place / "etc" / "metrics.json")


def swapped_parent(place: Path, version: Any) -> None:
    """Swap a link two directories above the file."""
    (place / "next").mkdir()
    save(place / "next" / "metrics.json", version)
    (place / "etc").rename(place / "before")
    (place / "etc").symlink_to("next")


@pytest.mark.parametrize("change", [swapped_directory, swapped_link, swapped_parent])
def test_what_the_path_leads_to_counts(simulator: Simulator, tmp_path: Path, change: Any) -> None:
    """What counts is the content at the end of the path, whatever was renamed, made again or pointed elsewhere on the way."""
    (tmp_path / "etc").mkdir()
    save(tmp_path / "etc" / "metrics.json", TWO)
    with service(simulator.port, tmp_path / "logs", "--metrics_file", str(tmp_path / "etc" / "metrics.json")) as run:
        run.wait_for_polls(*TWO)

        change(tmp_path, {**TWO, "show_version": 1})

        assert run.wait_for("config_reloaded", added="show_version")
        before = run.latest()
        # In place, so that it is the new target of a link that is edited.
        (tmp_path / "etc" / "metrics.json").write_text(json.dumps(TWO), "utf-8")
        run.wait_for("config_reloaded", after=before, removed="show_version")


def test_rights_that_come_back_withdraw_the_complaint(simulator: Simulator, tmp_path: Path) -> None:
    """A chmod alone can end the complaint about a file that can't be read."""
    (tmp_path / "metrics.json").write_text(json.dumps(TWO), "utf-8")
    with service(simulator.port, tmp_path / "logs", "--metrics_file", str(tmp_path / "metrics.json"), through=POWERLESS) as run:
        run.wait_for_polls(*TWO)

        (tmp_path / "metrics.json").chmod(0)

        assert run.wait_for("config_rejected")["problems"].endswith("can't be read: permission denied")
        (tmp_path / "metrics.json").chmod(0o600)
        run.wait_for("config_reloaded", added="", changed="", removed="")
        wait_until(lambda: "permission denied" not in (tmp_path / "logs" / "status.json").read_text("utf-8"))


def test_without_inotify_the_file_is_looked_at(simulator: Simulator, tmp_path: Path) -> None:
    """A host without free watches gets a warning, and changes are noticed within a second."""
    none_left = ["unshare", "--user", "--map-root-user", "sh", "-c", 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"', "sh"]
    if subprocess.run([*none_left, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs user namespaces")
    with service(simulator.port, tmp_path / "logs", metrics=TWO, through=none_left) as run:
        told = run.wait_for("check", check="watch_metrics_file")
        run.wait_for_polls(*TWO)

        save(tmp_path / "metrics.json", {**TWO, "show_version": 1})

        assert (told["level"], told["text"].partition(": ")[2]) == (
            "warning",
            "is looked at once a second, since the kernel does not tell of changes: inotify instance limit reached",
        )
        assert run.wait_for("config_reloaded")["added"] == "show_version"
        assert run.end() == 0


WRONG: tuple[bytes, ...] = (
    b'{"show_locks": 1' + b"0" * 400 + b"}",
    b'{"show_locks": ' + b"1" * 5000 + b"}",
    b"[" * 100_000,
    b'{"\\ud800": 1}',
    b'{"show_locks": {"interval": 1, "query": "select \\ud800"}}',
    b'{"show_locks": {"interval": 1, "\\ud800": 1}}',
    b"\xff\xfe{\x00}\x00",
    b"\x00" * 1000,
    b"x" * (2 << 20),
)


def test_no_content_ends_a_service(simulator: Simulator, tmp_path: Path) -> None:
    """Any content, in a directory whose name is no text, is rejected at worst, and the next good content is loaded."""
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe\x1b[2J"))
    place.mkdir()
    path = place / "metrics.json"
    save(path, TWO)
    with service(simulator.port, tmp_path / "logs", "--metrics_file", str(path)) as run:
        run.wait_for_polls(*TWO)
        for content in WRONG:
            before = run.latest()
            path.write_bytes(content)
            problems = run.wait_for("config_rejected", after=before)["problems"]
            assert "\\udcff\\udcfe\\x1b[2J/metrics.json" in problems
            assert problems.isprintable()
        path.unlink()
        os.mkfifo(path)
        run.wait_for("config_rejected", problems=f"{shown(str(path))}: can't be read: it is not a regular file")
        path.unlink()
        save(path, {"show_locks": 0.3})

        run.wait_for("config_reloaded", removed="show_cluster_nodes")
        run.wait_for_polls("show_locks")
        assert "Traceback" not in run.stderr
        assert run.end() == 0


def test_reading_is_not_noticed_as_a_change(tmp_path: Path) -> None:
    """Our own readings and writes to other files wake nobody, and a save does."""
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

    # Two saves, each a rename seen at its one end that has the file's name (and touch closes the file once), and two looks after each.
    assert len(noticed) <= 8
