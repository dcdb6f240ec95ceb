"""How the service is, for outsiders: `sqmon status`, systemd's notify socket, Prometheus."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Iterator

import msgspec
import pytest

from sqmon.health import status_file
from sqmon.health.status_file import MetricStatus, Status, StatusFile
from sqmon.simulator import Simulator
from tests.support.loki import free_port
from tests.support.program import Ended, Service, ended, service, wait_until

QUICK = {"show_locks": 0.2, "get_license_info": 0.2}


def status(log_dir: Path, *words: str) -> Ended:
    """Return what `sqmon status` prints for a directory."""
    return ended("status", "--log_dir", str(log_dir), *words, cwd=log_dir.parent)


def said(run: Service) -> Status:
    """Return the status that a running service has written."""
    status = wait_until(lambda: status_file.read(run.log_dir))
    assert status is not None
    return status


def test_healthy_service_exits_with_0(simulator: Simulator, tmp_path: Path) -> None:
    """A healthy service is exit code 0, with a table for people and an object for programs."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        wait_until(lambda: all(metric.polls for metric in said(run).metrics))
        table, document = status(run.log_dir), status(run.log_dir, "--json")

    assert (table.code, document.code) == (0, 0)
    assert table.stdout.startswith("OK: 2 of 2 metrics are well")
    assert all(re.search(rf"^{metric} +polling", table.stdout, re.MULTILINE) for metric in QUICK)
    told = json.loads(document.stdout)
    assert (True, True, sorted(QUICK)) == (told["running"], told["healthy"], sorted(metric["name"] for metric in told["metrics"]))


def test_one_failing_metric_is_degraded_and_named(simulator: Simulator, tmp_path: Path) -> None:
    """A failing metric is exit code 1 and named with its error, until its cause is gone."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        simulator.set_fault("show_locks", step="execute", action="error", text="the role must have SUPERUSER")
        wait_until(lambda: any(not metric.healthy for metric in said(run).metrics))
        sick = status(run.log_dir)
        simulator.clear_faults()
        run.wait_for_polls("show_locks")
        wait_until(lambda: all(metric.healthy for metric in said(run).metrics))
        well = status(run.log_dir)

    assert (sick.code, well.code) == (1, 0)
    assert "DEGRADED: 1 of 2 metrics are well" in sick.stdout
    assert re.search(r"^ *show_locks: .*the role must have SUPERUSER", sick.stdout, re.MULTILINE)


def test_what_keeps_an_outage_going_is_told(simulator: Simulator, tmp_path: Path) -> None:
    """The status tells the present cause of an outage: the database is back, but refuses the password."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        simulator.set_password("another")
        simulator.stop_worker()
        simulator.start_worker()
        run.wait_for("login_paused")
        wait_until(lambda: any("wrong password" in metric.error for metric in said(run).metrics))
        result = status(run.log_dir)

    assert result.code == 1
    assert re.search(r"^ *\w+: .*wrong password", result.stdout, re.MULTILINE)


def test_table_fits_into_80_columns(simulator: Simulator, tmp_path: Path) -> None:
    """The table of the default metrics fits into 80 columns, with nothing cut off."""
    with service(simulator.port, tmp_path / "logs", metrics={"show_server_status": 0.1}) as run:
        run.wait_for_polls("show_server_status", count=12)
        wait_until(lambda: all(metric.polls > 9 for metric in said(run).metrics))
        result = status(run.log_dir)
    lines = result.stdout.splitlines()

    assert max(map(len, lines)) <= 80
    assert ["metric", "state", "last", "ok", "rows", "ms", "polls", "failed", "records", "restarts"] in [line.split() for line in lines]


def test_rejected_file_is_degraded(simulator: Simulator, tmp_path: Path) -> None:
    """A problem of the service itself is exit code 1 too."""
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        (tmp_path / "metrics.json").write_text("{", "utf-8")
        wait_until(lambda: said(run).problems)
        result = status(run.log_dir)

    assert (result.code, "metrics.json:1:2: is not JSON" in result.stdout) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_service_exits_with_2(simulator: Simulator, tmp_path: Path, number: signal.Signals) -> None:
    """Without a service that holds the directory the exit code is 2, whether the last one was stopped or killed."""
    assert status(tmp_path / "nothing").code == 2
    with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        os.kill(run.pid, number)
        run.process.wait()
        result, document = status(run.log_dir), status(run.log_dir, "--json")

    assert (result.code, document.code, json.loads(document.stdout)["running"]) == (2, 2, False)
    assert result.stdout.startswith("NOT RUNNING")


def test_reader_never_sees_a_half_written_status(tmp_path: Path) -> None:
    """Every reading of a file that is overwritten in place is a whole status, though long and short ones alternate."""
    file = StatusFile(tmp_path)
    for generation in range(1, 200):
        metrics = [MetricStatus(name="m" * 50, state="polling", healthy=True, interval=1) for _ in range(generation % 7 * 5)]
        file.write(Status(generation=generation, version="", pid=1, started="", updated_ns=0, metrics=metrics, end=generation))
        read = status_file.read(tmp_path)

        assert read is not None
        assert (generation, len(metrics)) == (read.generation, len(read.metrics))
    file.close()
    torn = msgspec.json.encode(Status(generation=5, version="", pid=1, started="", updated_ns=0, end=4))
    (tmp_path / status_file.NAME).write_bytes(torn)

    assert status_file.read(tmp_path) is None


@contextlib.contextmanager
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A datagram socket on which services report, as systemd has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messages:
        messages.bind(str(tmp_path / "notify"))
        messages.settimeout(30)
        yield messages


def heard_until(messages: socket.socket, wanted: str) -> list[str]:
    """Return the messages up to the first that begins with `wanted`; socket.timeout when it does not come."""
    heard: list[str] = []
    while not heard or not heard[-1].startswith(wanted):
        heard.append(messages.recv(4096).decode())
    return heard


def test_systemd_is_told_everything(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd hears READY after the checks, a status, signs of life, RELOADING and READY for SIGHUP, and STOPPING at the end."""
    with manager(tmp_path) as messages:
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        with service(simulator.port, tmp_path / "logs", metrics=QUICK) as run:
            assert heard_until(messages, "READY=1") == ["READY=1"]
            heard_until(messages, "STATUS=2 of 2 metrics are well")
            heard_until(messages, "WATCHDOG=1")
            heard_until(messages, "WATCHDOG=1")
            os.kill(run.pid, signal.SIGHUP)
            reloading = heard_until(messages, "RELOADING=1")[-1]
            heard_until(messages, "READY=1")
            os.kill(run.pid, signal.SIGTERM)
            heard_until(messages, "STOPPING=1")
            assert run.process.wait() == 0

    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)


def test_failed_check_is_never_ready(tmp_path: Path) -> None:
    """A service that can't reach its database never reports READY."""
    with manager(tmp_path) as messages, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        words = ["--port", str(nobody.getsockname()[1]), "--startup_timeout", "0", "--log_dir", "logs", "--loki_port", "1"]
        result = ended("run", "--host", "127.0.0.1", *words, cwd=tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify"))
        messages.setblocking(False)

        assert result.code == 1
        with pytest.raises(BlockingIOError):
            messages.recv(4096)


def scrape(port: int) -> dict[str, float]:
    """Return every sample of a scrape by its name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_prometheus_sees_what_the_stream_says(simulator: Simulator, tmp_path: Path) -> None:
    """The counters agree with the events; a failing metric, its restart and its gap are counted."""
    port = free_port()
    simulator.set_rows({"show_locks": 3})
    with service(simulator.port, tmp_path / "logs", "--metrics_port", str(port), metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        before = run.latest()
        simulator.set_fault("show_locks", step="fetch", action="close", times=1)
        run.wait_for("gap", after=before, target="show_locks")
        run.wait_for_polls("show_locks")
        samples = scrape(port)
        polls = run.events("poll", target="show_locks", status="ok")

    assert 0 <= len(polls) - samples['sqmon_polls_total{status="ok",target="show_locks"}'] <= 3
    assert samples['sqmon_rows_total{target="show_locks"}'] == 3 * samples['sqmon_polls_total{status="ok",target="show_locks"}']
    assert samples['sqmon_lines_total{target="show_locks"}'] == samples['sqmon_rows_total{target="show_locks"}']
    assert samples['sqmon_polls_total{status="error",target="show_locks"}'] == 1
    assert samples['sqmon_worker_exits_total{kind="connection",target="show_locks"}'] == 1
    assert samples['sqmon_gaps_total{target="show_locks"}'] == 1
    assert (samples["sqmon_config_ok"], samples["sqmon_logins_paused"]) == (1, 0)
    assert samples['sqmon_last_success_timestamp_seconds{target="show_locks"}'] > 1.7e9


def test_taken_metrics_port_is_one_clear_line(simulator: Simulator, tmp_path: Path) -> None:
    """A metrics port that is taken is one line and exit code 1, before anything is polled."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["--port", str(simulator.port), "--log_dir", "logs", "--metrics_port", str(port)]
        result = ended("run", "--host", "127.0.0.1", *words, cwd=tmp_path)

    assert (1, f"sqmon: --metrics_port {port}: can't listen on 127.0.0.1: Address already in use\n") == (result.code, result.stderr)


def test_single_file_has_no_status(tmp_path: Path) -> None:
    """A status that is asked of a single file says where to look instead."""
    result = ended("status", "--log_file_path", "one.jsonl", cwd=tmp_path)

    line = "sqmon: one.jsonl: a service that writes one file leaves no status; its events are in that file (metric sqmon)\n"
    assert (1, line) == (result.code, result.stderr)
