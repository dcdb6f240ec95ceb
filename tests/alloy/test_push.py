"""The way from the file to what an agent pushes, without a Loki: nothing is lost or doubled by a stop, a kill or an outage."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Iterator

import pytest

from sqmon.config.catalogue import DEFAULT_METRICS
from sqmon.simulator import Simulator
from sqmon.storage.reader import segments
from tests.support.agents import LABELS, Agent, Lines, seconds_under_way, torn, written_over_stops
from tests.support.program import service, wait_until
from tests.support.push import PushServer

SECONDS = 120.0


@pytest.fixture
def server() -> Iterator[PushServer]:
    """Return a server that takes what is pushed."""
    with PushServer().running() as running:
        yield running


@pytest.fixture(params=["fluent-bit"])  # Alloy and Promtail push protobuf: they are tested with a Loki
def agent(request: pytest.FixtureRequest, tmp_path: Path, server: PushServer) -> Agent:
    """Return each agent that pushes JSON, not yet started."""
    return Agent(request.param, tmp_path, server.port)


def arrived(server: PushServer) -> Counter[str]:
    """Return how often each line arrived."""
    return Counter(pushed.line for pushed in server.pushed)


def written(lines: Lines) -> Counter[str]:
    """Return each written line once."""
    return Counter(lines.written.values())


def test_every_record_arrives_once(agent: Agent, server: PushServer) -> None:
    """Each of 20,000 records arrives once, byte for byte, with labels and time, over ten rotations and stops of the agent."""
    lines = written_over_stops(agent, max_bytes=500_000)
    with agent:
        for _ in range(40):
            lines.poll(100)
        wait_until(lambda: len(server.pushed) >= 20_000, SECONDS)
    lines.close()

    assert len(list(agent.log_dir.glob("*/*.jsonl"))) >= 11
    assert arrived(server) == written(lines)
    for pushed in server.pushed:
        filename = pushed.labels.pop("filename")
        assert pushed.labels == LABELS
        assert pushed.metadata == {"run_id": lines.run_id}
        assert Path(filename).parent == agent.log_dir / "show_locks"
        assert agent.has_time(pushed.ts, pushed.line)


def test_line_is_sent_within_a_second(agent: Agent, server: PushServer) -> None:
    """A line is sent within a second of its write, at the median, when the file was idle before."""
    lines = Lines(agent.log_dir, max_bytes=1 << 20)
    with agent:
        lines.poll(1)
        wait_until(lambda: server.pushed)
        seconds = seconds_under_way(lines, lambda seq: len(server.pushed) >= seq)
    lines.close()

    assert seconds < 1.0


def test_torn_line_is_dropped_and_counted(agent: Agent, server: PushServer) -> None:
    """A torn line is dropped and counted, and the lines around it arrive."""
    lines, _ = torn(agent)
    with agent:
        wait_until(lambda: agent.dropped() == 2)
        wait_until(lambda: len(server.pushed) == 2)

    assert arrived(server) == written(lines)


def test_level_is_a_label_of_events_alone(agent: Agent, server: PushServer) -> None:
    """Each event has its own level as a label."""
    place = agent.log_dir / "sqmon"
    place.mkdir()
    text = '{{"ts":"2026-11-24T15:30:50.00000000{0}Z","seq":{0},"metric":"sqmon","run_id":"r","level":"{1}","event":"poll"}}\n'
    (place / "sqmon-1.jsonl").write_text(text.format(1, "info") + text.format(2, "error"), "utf-8")
    with agent:
        wait_until(lambda: len(server.pushed) == 2)

    assert [(pushed.labels["level"], pushed.labels["metric"]) for pushed in server.pushed] == [("info", "sqmon"), ("error", "sqmon")]


def test_outage_with_a_stop_in_it_loses_nothing(agent: Agent, server: PushServer) -> None:
    """What was read and refused during an outage is sent once after a restart of the agent."""
    lines = Lines(agent.log_dir, max_bytes=200_000)
    server.away = True
    with agent:
        lines.poll(2000)
        wait_until(lambda: server.refused)
    with agent:
        lines.poll(2000)
        server.away = False
        wait_until(lambda: len(server.pushed) >= 4000, SECONDS)
    lines.close()

    assert arrived(server) == written(lines)


@pytest.mark.parametrize("away", [False, True])
def test_kill_loses_nothing(agent: Agent, server: PushServer, away: bool) -> None:
    """A kill loses nothing, whether or not Loki was there; what was under way may come twice."""
    lines = Lines(agent.log_dir, max_bytes=200_000)
    server.away = away
    with agent:
        lines.poll(5000)
        wait_until(lambda: server.refused if away else server.pushed)
        agent.kill()
    server.away = False
    with agent:
        wait_until(lambda: not written(lines) - arrived(server), SECONDS)
    lines.close()

    assert set(arrived(server)) == set(written(lines))


def test_what_the_service_writes_arrives_once(agent: Agent, server: PushServer) -> None:
    """Every line of every stream arrives once, though a worker and the service are killed and the agent is stopped in between."""
    metrics = dict.fromkeys(DEFAULT_METRICS, 0.1)
    with Simulator() as simulator:
        with service(simulator.port, agent.log_dir, metrics=metrics) as running:
            with agent:
                running.wait_for_polls(*metrics)
                os.kill(running.worker("show_locks"), signal.SIGKILL)
                running.wait_for("worker_exit", target="show_locks")
            running.wait_for_polls("show_locks", count=5)
            running.process.kill()
        with agent, service(simulator.port, agent.log_dir, metrics=metrics) as running:
            running.wait_for_polls(*metrics)
            running.end()
            # A line can be torn where its writer was killed; it is none of a record then.
            lines = Counter(
                line
                for stream in (*metrics, "sqmon")
                for path in segments(agent.log_dir, stream)
                for line in path.read_text("utf-8").splitlines(keepends=True)
                if line.endswith("\n")
            )
            wait_until(lambda: len(server.pushed) >= sum(lines.values()), SECONDS)

    assert arrived(server) == Counter(line.rstrip("\n") for line in lines.elements())
    assert all(agent.has_time(pushed.ts, pushed.line) for pushed in server.pushed)
    assert {pushed.labels["metric"] for pushed in server.pushed} == {*metrics, "sqmon"}
