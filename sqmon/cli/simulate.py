"""`sqmon simulate`: the simulator on its own."""

from __future__ import annotations

import argparse
from typing import Mapping

from sqmon.config.options import Option
from sqmon.simulator import command

OPTIONS: Mapping[str, tuple[Option, ...]] = {}
"""None from the environment: SQMON_PORT is the port of the database that the service asks, not of one that is simulated."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options."""
    command.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Simulate until SIGTERM or Ctrl-C."""
    return command.run(args)
