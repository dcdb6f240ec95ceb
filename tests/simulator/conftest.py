"""A simulator, a clock that tests wind, and a driver that can't block."""

from __future__ import annotations

from typing import Iterator

import pytest

from sqmon.simulator import Simulator
from tests.simulator import driver


class Clock:
    """Seconds since 1970 that stand still until a test moves them."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        """Read it."""
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A worker, its picker and its control port, without the version that makes pysqream ping."""
    with Simulator(picker_port=0, control_port=0, server_version=None) as running:
        yield running


@pytest.fixture(autouse=True)
def tamed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """See driver.tamed."""
    yield from driver.tamed(monkeypatch)
