"""A few of the random schedules that `make proof` runs by the thousand."""

from __future__ import annotations

import pytest

from tests.support.schedules import SCHEDULES

SMALL = [
    (kind, seed) for kind, count in (("agent", 10), ("disk", 10), ("crash", 6), ("file", 1), ("lifetimes", 6)) for seed in range(count)
]


@pytest.mark.parametrize(("kind", "seed"), SMALL)
def test_schedule_loses_doubles_and_tears_nothing(kind: str, seed: int) -> None:
    """Whatever a schedule does, each record is in the files once or in exactly one report of a loss."""
    outcome = SCHEDULES[kind](seed)

    assert outcome.holds, outcome
    assert outcome.records > 0
