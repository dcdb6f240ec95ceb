"""What a new list of metrics changes about the old one."""

from __future__ import annotations

from typing import Mapping, NamedTuple

from sqmon.config.settings import Metric


class Changes(NamedTuple):
    """The names of the metrics concerned."""

    changed: list[str]
    added: list[str]
    removed: list[str]


def changes_of(polled: Mapping[str, Metric], wanted: Mapping[str, Metric]) -> Changes:
    """Return what becomes of the metrics that are polled when others are wanted; both are by name."""
    return Changes(
        changed=[name for name, metric in polled.items() if name in wanted and wanted[name] != metric],
        added=[name for name in wanted if name not in polled],
        removed=[name for name in polled if name not in wanted],
    )
