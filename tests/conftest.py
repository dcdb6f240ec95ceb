"""Fixtures of all tests: a simulator on free ports, and the driver that is pinned."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from hypothesis import settings

# The adapter patches pysqream, and the simulator's tests want it unpatched: the adapter keeps the copy that it has imported here, and
# every later import makes another.
from sqmon.database import client
from sqmon.simulator import Simulator

ADAPTER = client
for _name in [name for name in sys.modules if name.split(".")[0] in ("pysqream", "ping")]:
    del sys.modules[_name]

# A shell that starts us in the background has these ignored, and our programs would inherit that: a Ctrl-C would not reach them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
# SIGTERM ends the tests in an orderly way, so that no program that they started is left.
signal.signal(signal.SIGTERM, signal.default_int_handler)


# How long an example takes says more about the machine than about the code.
settings.register_profile("sqmon", deadline=None)
settings.load_profile("sqmon")


@pytest.fixture
def shared_path() -> Iterator[Path]:
    """A directory that other users may enter, as they may not enter `tmp_path`."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A worker without a GPU whose cluster always has two locks, a picker that knows it, and a control port."""
    with Simulator(picker_port=0, control_port=0, rows_locks=2) as running:
        yield running
