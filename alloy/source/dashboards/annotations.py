"""The annotations of every dashboard: what happened at a moment, marked in all graphs."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from alloy.source.dashboards.query import asked, source
from alloy.source.logql import GAPS, SITE, events, lifetimes

with warnings.catch_warnings():
    # See panels.py.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.models import dashboard as models


class _Built(NamedTuple):
    """What the SDK takes for a builder."""

    model: Any

    def build(self) -> Any:
        return self.model


def marks() -> list[Any]:
    """Return what marks gaps, restarts of the server and starts of sqmon."""
    gaps = events("event", "target", "reason", "lasted_s", where=GAPS, level="warning|error", site=SITE)
    restarts = lifetimes(where='| event="server_restarted"', level="warning", site=SITE)
    starts = events("event", "version", where='| event="start"', site=SITE)
    return [
        _annotation("gaps", "orange", gaps),
        _annotation("restarts of SQreamDB", "red", restarts),
        _annotation("starts of sqmon", "blue", starts),
    ]


def _annotation(name: str, colour: str, expr: str) -> Any:
    query = models.AnnotationQuery(name=name, datasource=source("loki"), enable=True, icon_color=colour, expr=expr)
    query.target = asked(expr, instant=False).build()
    return _Built(query)
