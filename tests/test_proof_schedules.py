"""A few of the random schedules that `make proof` runs by the thousand, and the model of an agent that judges them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.agent_model import Agent
from tests.support.schedules import SCHEDULES

SMALL = [(kind, seed) for kind, count in (("agent", 10), ("disk", 10), ("crash", 6), ("file", 1)) for seed in range(count)]


@pytest.mark.parametrize(("kind", "seed"), SMALL)
def test_schedule_loses_doubles_and_tears_nothing(kind: str, seed: int) -> None:
    """Whatever a schedule does, each record is in the files once or in exactly one report of a loss."""
    outcome = SCHEDULES[kind](seed)

    assert outcome.holds, outcome
    assert outcome.records > 0


def lines(first: int, last: int) -> bytes:
    """Return the records that the model handed on."""
    return b"".join(json.dumps({"seq": seq}).encode() + b"\n" for seq in range(first, last + 1))


def received(agent: Agent) -> list[int]:
    """Return how often the model handed on each seq."""
    return sorted(json.loads(line)["seq"] for line in agent.received.elements())


def test_model_reads_unique_names_exactly_once_over_an_outage(tmp_path: Path) -> None:
    """The model reads files whose path never changes its content exactly once, through restarts and in any number."""
    agent = Agent(tmp_path, tmp_path / "positions.yml")
    (tmp_path / "m").mkdir()
    agent.start(0)
    (tmp_path / "m/m-1.jsonl").write_bytes(lines(1, 5))
    agent.turn(10)
    agent.turn(10.25)
    agent.stop()
    with (tmp_path / "m/m-1.jsonl").open("ab") as file:
        file.write(lines(6, 8))
    (tmp_path / "m/m-2.jsonl").write_bytes(lines(9, 12))
    agent.start(20)
    agent.turn(20)
    agent.turn(20.25)
    agent.stop()

    assert received(agent) == list(range(1, 13))


def test_model_loses_lines_to_a_rename_during_an_outage(tmp_path: Path) -> None:
    """The model loses lines of a file that is renamed while it is down, so it would catch a rotation by renaming."""
    agent = Agent(tmp_path, tmp_path / "positions.yml")
    (tmp_path / "m").mkdir()
    path = tmp_path / "m/m.jsonl"
    agent.start(0)
    path.write_bytes(lines(1, 5))
    agent.turn(0)
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

    assert received(agent) == [1, 2, 3, 4, 5]


def test_model_doubles_lines_of_a_renamed_file_that_it_matches(tmp_path: Path) -> None:
    """The model reads a file twice when its new name matches the pattern too."""
    agent = Agent(tmp_path, tmp_path / "positions.yml")
    (tmp_path / "m").mkdir()
    agent.start(0)
    (tmp_path / "m/m.jsonl").write_bytes(lines(1, 3))
    agent.turn(0)
    agent.turn(0.25)
    (tmp_path / "m/m.jsonl").rename(tmp_path / "m/m-old.jsonl")
    agent.turn(10)
    agent.turn(10.25)
    agent.stop()

    assert received(agent) == [1, 1, 2, 2, 3, 3]


def test_model_reads_again_after_a_kill(tmp_path: Path) -> None:
    """After a kill the model reads again what it read since it saved its positions, and says how much that may be."""
    agent = Agent(tmp_path, tmp_path / "positions.yml")
    (tmp_path / "m").mkdir()
    (tmp_path / "m/m-1.jsonl").write_bytes(lines(1, 3))
    agent.start(0)
    agent.turn(0)
    agent.turn(0.25)
    agent.kill()
    agent.start(1)
    agent.turn(1)
    agent.turn(1.25)
    agent.stop()

    assert received(agent) == [1, 1, 2, 2, 3, 3]
    assert sum(agent.may_repeat.values()) == 3
