"""The Prometheus exporter: the counters, the gauges, and a server that nobody can hold."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Iterator

import pytest

from sqmon.errors import SqmonError
from sqmon.health.prometheus import PrometheusExporter
from sqmon.health.scrape_server import CONNECTIONS, ScrapeServer
from sqmon.health.status_file import MetricStatus, ProofStatus
from sqmon.simulator import Simulator
from tests.support.loki import free_port
from tests.support.program import QUICK, ended, service, wait_until


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


def test_address_that_is_none_is_one_clear_line() -> None:
    """An address that no resolver takes is an error for people."""
    with pytest.raises(SqmonError, match=r"^--metrics_port 9188: can't listen on a\.\.b: this is not an address$"):
        PrometheusExporter("a..b", 9188)


@pytest.fixture
def exporter() -> Iterator[PrometheusExporter]:
    """An exporter on a free port."""
    running = PrometheusExporter("127.0.0.1", 0)
    yield running
    running.close()


def healthy(*names: str) -> list[MetricStatus]:
    """The status of metrics that are well."""
    return [
        MetricStatus(name=name, state="polling", healthy=True, interval=1, last_success="2026-11-25T12:00:00.500000000Z") for name in names
    ]


def targets(port: int, gauge: str) -> set[str]:
    """The metrics that a gauge has a value for."""
    return {name.split('"')[1] for name in scrape(port) if name.startswith(f"{gauge}{{")}


def test_removed_metric_has_no_gauge(exporter: PrometheusExporter) -> None:
    """A metric that is polled no more would seem to fail for ever."""
    gauges = ("sqmon_last_success_timestamp_seconds", "sqmon_healthy", "sqmon_buffer_bytes")
    exporter.of("").on_status(healthy("kept", "removed"))
    assert [{"kept", "removed"}] * 3 == [targets(exporter.port, gauge) for gauge in gauges]
    assert scrape(exporter.port)['sqmon_last_success_timestamp_seconds{target="kept"}'] == 1795608000.5

    exporter.of("").on_status(healthy("kept"))

    assert [{"kept"}] * 3 == [targets(exporter.port, gauge) for gauge in gauges]


def test_proof_has_gauges_while_somebody_looks(exporter: PrometheusExporter) -> None:
    """What was found in Loki can be scraped, and nothing where nobody looks."""
    proof = ProofStatus(
        url="http://loki",
        looked="2026-11-25T12:00:00.500000000Z",
        proved=False,
        problem="lost",
        up_to="2026-11-25T11:00:00.000000000Z",
        unproved_lines=7,
    )
    seen = []
    for each in (None, proof):
        exporter.of("").on_status(healthy("kept"), each)
        seen.append({name: value for name, value in scrape(exporter.port).items() if "proof" in name or "unproved" in name})

    looked, up_to = "sqmon_proof_looked_timestamp_seconds", "sqmon_proof_up_to_timestamp_seconds"
    assert [{}, {"sqmon_proof_ok": 0.0, looked: 1795608000.5, up_to: 1795604400.0, "sqmon_unproved_lines": 7.0}] == seen


def test_gauges_never_blink(exporter: PrometheusExporter) -> None:
    """Each scrape sees all metrics, however often the status changes."""
    names = {f"metric_{number}" for number in range(5)}
    exporter.of("").on_status(healthy(*names))
    done = threading.Event()

    def update() -> None:
        while not done.is_set():
            exporter.of("").on_status(healthy(*names))

    updates = threading.Thread(target=update)
    updates.start()
    try:
        assert all(targets(exporter.port, "sqmon_healthy") == names for _ in range(30))
    finally:
        done.set()
        updates.join()


def processor_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_connections_hold_nothing_up(simulator: Simulator, tmp_path: Path) -> None:
    """With few descriptors and many idle connections, scrapes are answered, a dead worker is replaced, and no processor is busy."""
    port = free_port()
    with service(simulator.port, tmp_path / "logs", "--metrics_port", str(port), metrics=QUICK) as run, contextlib.ExitStack() as idle:
        run.wait_for_polls(*QUICK)
        resource.prlimit(run.pid, resource.RLIMIT_NOFILE, (128, 128))
        for _ in range(200):
            idle.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        began, used = time.monotonic(), processor_seconds(run.pid)
        before = run.latest()
        os.kill(run.worker("show_locks"), signal.SIGKILL)
        run.wait_for("worker_start", after=before, target="show_locks")
        run.wait_for_polls(*QUICK, after=before)

        assert scrape(port)['sqmon_healthy{target="get_license_info"}'] == 1
        assert processor_seconds(run.pid) - used < 0.3 * (time.monotonic() - began)
        assert len(list(Path(f"/proc/{run.pid}/fd").iterdir())) < 64
        assert run.end() == 0


@pytest.fixture
def server() -> Iterator[ScrapeServer]:
    """A server whose connections may last half a second."""
    running = ScrapeServer("127.0.0.1", 0, seconds=0.5)

    def app(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b"well"]

    running.set_app(app)
    running.start()
    yield running
    running.stop()


def test_connection_that_drips_is_ended(server: ScrapeServer) -> None:
    """A client that sends a byte now and then is no less a burden than an idle one."""
    with socket.create_connection(("127.0.0.1", server.server_port), 10) as client:

        def cut() -> bool:
            try:
                client.sendall(b"G")
            except OSError:
                return True
            return False

        wait_until(cut)


def test_one_connection_too_many_ends_the_oldest(server: ScrapeServer) -> None:
    """A scrape gets its answer however many others only wait."""
    with contextlib.ExitStack() as opened:
        idle = [opened.enter_context(socket.create_connection(("127.0.0.1", server.server_port), 10)) for _ in range(CONNECTIONS)]
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=10) as answer:
            assert answer.read() == b"well"

        assert idle[0].recv(1) == b""
