"""What the tests share: programs, clocks, models of agents, a Loki, schedules."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
