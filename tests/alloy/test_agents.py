"""The agents of the tests themselves: the model of two of them, and that none is left behind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sqmon.storage.agent_positions import read_positions
from tests.support.agent_model import DROPPED_AT_STOP, FLUSH_S, QUEUE_LINES, Kind
from tests.support.agent_model import Agent as Model
from tests.support.agents import Agent
from tests.support.program import session_processes, wait_until

BOTH = pytest.mark.parametrize("kind", ["alloy", "promtail"])


def lines(first: int, last: int) -> bytes:
    """Return the records that the model hands on."""
    return b"".join(json.dumps({"seq": seq}).encode() + b"\n" for seq in range(first, last + 1))


def received(agent: Model) -> list[int]:
    """Return each seq as often as the model handed it on."""
    return sorted(json.loads(line)["seq"] for line in agent.received.elements())


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """Return a file of 100 lines that the model matches."""
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / "m-1.jsonl"
    path.write_bytes(lines(1, 100))
    return path


def model(tmp_path: Path, kind: Kind) -> Model:
    """Return a model that has started and found its files."""
    agent = Model(tmp_path, tmp_path / "positions.yml", kind)
    agent.start(0)
    agent.turn(0)
    return agent


def known(tmp_path: Path, path: Path) -> int:
    """Return the position of a file that the model has saved."""
    positions = read_positions(tmp_path / "positions.yml")
    assert positions is not None
    return positions.offsets[path]


@BOTH
def test_unique_names_are_read_exactly_once_over_an_outage(tmp_path: Path, kind: Kind, segment: Path) -> None:
    """The model reads files whose path never changes its content exactly once, through restarts and in any number."""
    agent = model(tmp_path, kind)
    agent.turn(0.25)
    agent.stop()
    with segment.open("ab") as file:
        file.write(lines(101, 108))
    (tmp_path / "m/m-2.jsonl").write_bytes(lines(109, 112))
    agent.start(20)
    agent.turn(20)
    agent.turn(20.25)
    agent.stop()

    assert received(agent) == list(range(1, 113))


@BOTH
def test_rename_during_an_outage_loses_lines(tmp_path: Path, kind: Kind) -> None:
    """The model loses lines of a file that is renamed while it is down, so it would catch a rotation by renaming."""
    (tmp_path / "m").mkdir()
    path = tmp_path / "m/m.jsonl"
    path.write_bytes(lines(1, 5))
    agent = model(tmp_path, kind)
    agent.turn(0.25)
    agent.stop()
    with path.open("ab") as file:
        file.write(lines(6, 8))
    path.rename(tmp_path / "m/m.jsonl.1")
    path.write_bytes(lines(9, 12))
    agent.start(20)
    agent.turn(20)
    agent.turn(20.25)
    agent.stop()

    assert received(agent) == ([1, 2, 3, 4, 5] if kind == "alloy" else [1, 2, 3, 4, 5, 9, 10, 11, 12])


@BOTH
def test_renamed_file_that_is_matched_comes_twice(tmp_path: Path, kind: Kind) -> None:
    """The model reads a renamed file again, so it would catch a name that changes within the pattern."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m/m.jsonl").write_bytes(lines(1, 3))
    agent = model(tmp_path, kind)
    agent.turn(0.25)
    (tmp_path / "m/m.jsonl").rename(tmp_path / "m/m-old.jsonl")
    agent.turn(10)
    agent.turn(10.25)
    agent.stop()

    assert received(agent) == [1, 1, 2, 2, 3, 3]


def test_position_of_alloy_stays_at_the_first_line_of_a_burst(tmp_path: Path, segment: Path) -> None:
    """Alloy stores a position with the first line and with a line that comes ten seconds later, so a sealed segment looks unread."""
    agent = model(tmp_path, "alloy")
    for second in range(1, 76):
        agent.turn(second)

    assert sum(agent.received.values()) == 100
    assert known(tmp_path, segment) == len(lines(1, 1))
    with segment.open("ab") as file:
        file.write(lines(101, 102))
    for second in range(76, 90):
        agent.turn(second)
    assert known(tmp_path, segment) == len(lines(1, 101))
    agent.stop()
    assert known(tmp_path, segment) == len(lines(1, 102))


def test_position_of_promtail_reaches_the_end(tmp_path: Path, segment: Path) -> None:
    """Promtail stores the position behind the last line within 35 seconds, whether or not another line comes."""
    agent = model(tmp_path, "promtail")
    for second in range(1, 36):
        agent.turn(second)
    agent.kill()

    assert known(tmp_path, segment) == segment.stat().st_size


@pytest.mark.parametrize(("kind", "again"), [("alloy", 99), ("promtail", 0)])
def test_kill_sends_again_what_lies_beyond_the_position(tmp_path: Path, kind: Kind, again: int, segment: Path) -> None:
    """A minute after a burst Alloy sends all but its first line again, and the model says how much that may be."""
    del segment
    agent = model(tmp_path, kind)
    for second in range(1, 60):
        agent.turn(second)
    agent.kill()
    agent.start(61)
    agent.turn(61)
    agent.turn(61.25)
    agent.stop()

    assert (len(received(agent)), sum(agent.may_repeat.values())) == (100 + again, again)


@pytest.mark.parametrize(("kind", "lost"), [("alloy", DROPPED_AT_STOP), ("promtail", 0)])
def test_stop_in_a_backlog_costs_alloy_a_few_lines(tmp_path: Path, kind: Kind, lost: int, segment: Path) -> None:
    """Alloy counts the lines that it holds as read when it is stopped, and never delivers them."""
    del segment
    agent = model(tmp_path, kind)
    agent.stop()
    agent.start(1)
    agent.turn(1)
    agent.turn(1.25)
    agent.stop()

    assert len(received(agent)) == 100 - lost
    assert sum(agent.dropped.values()) == lost


@pytest.mark.parametrize("kill", [False, True])
def test_alloy_that_ends_while_loki_is_away_loses_what_it_holds(tmp_path: Path, kill: bool, segment: Path) -> None:
    """A stop loses everything that was read and not delivered; a kill what its saved position covers."""
    del segment
    agent = model(tmp_path, "alloy")
    agent.stalled = True
    for second in range(1, int(FLUSH_S) + 2):
        agent.turn(second)
    (agent.kill if kill else agent.stop)()
    agent.stalled = False
    agent.start(60)
    agent.turn(60)
    agent.turn(60.25)
    agent.stop()

    assert sum(agent.dropped.values()) == (1 if kill else QUEUE_LINES)
    assert len(received(agent)) == 100 - sum(agent.dropped.values())


def test_agent_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that starts and says nothing fails its test alone, and leaves no process behind."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "promtail").write_text("#!/bin/sh\nexec sleep 1000\n", "utf-8")
    (place / "promtail").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    agent = Agent("promtail", tmp_path, 1)
    agent.start_seconds = 0.3

    with pytest.raises(AssertionError, match="nothing came"):
        agent.__enter__()
    assert agent.running.returncode is not None
    wait_until(lambda: agent.running.pid not in session_processes(os.getsid(0)))
