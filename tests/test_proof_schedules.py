"""A few of the random schedules that `make proof` runs by the thousand, and the agent model itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.agent_model import Agent
from tests.support.schedules import SCHEDULES

SMALL = [(kind, seed) for kind, count in (("agent", 10), ("disk", 10), ("crash", 6), ("file", 1)) for seed in range(count)]


@pytest.mark.parametrize(("kind", "seed"), SMALL)
def test_schedule_loses_doubles_and_tears_nothing(kind: str, seed: int) -> None:
    """Whatever happens, each record is there once or in exactly one report."""
    outcome = SCHEDULES[kind](seed)

    assert outcome.holds, outcome
    assert outcome.records > 0


def lines(first: int, last: int) -> bytes:
    """Records that the model hands on."""
    return b"".join(json.dumps({"seq": seq}).encode() + b"\n" for seq in range(first, last + 1))


def received(agent: Agent) -> list[int]:
    """The seq of what it has handed on, as often as it has."""
    return sorted(json.loads(line)["seq"] for line in agent.received.elements())


def test_model_reads_unique_names_exactly_once_over_an_outage(tmp_path: Path) -> None:
    """Names that never change their content survive restarts in any number of files."""
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
    """The model would catch us if we rotated as others do."""
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
    """Nor may a name within the pattern change."""
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
    """What was read since the positions were saved, and says how much that may be."""
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
