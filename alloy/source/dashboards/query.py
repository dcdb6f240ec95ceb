"""The queries of panels, and the data source that understands each."""

from __future__ import annotations

import warnings
from typing import Any

with warnings.catch_warnings():
    # See panels.py.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import loki, prometheus
    from grafana_foundation_sdk.models import common
    from grafana_foundation_sdk.models import loki as loki_models

from alloy.source.prometheus.promql import PromQL


def source(kind: str) -> Any:
    """Return the data source that is chosen at the top of the dashboard."""
    return common.DataSourceRef(type_val=kind, uid="${source}")


def source_of(expr: str) -> Any:
    """Return the data source that understands the query."""
    return source("prometheus" if isinstance(expr, PromQL) else "loki")


def asked(expr: str, *, instant: bool, legend: str = "") -> Any:
    """Return the query as a panel asks it: now, or over the time of the dashboard."""
    query: Any
    if isinstance(expr, PromQL):
        query = prometheus.Dataquery()
        query = query.instant() if instant else query.range()
    else:
        kind = loki_models.LokiQueryType.INSTANT if instant else loki_models.LokiQueryType.RANGE
        query = loki.Dataquery().editor_mode(loki_models.QueryEditorMode.CODE).query_type(kind)
    query = query.ref_id("A").datasource(source_of(expr)).expr(expr)
    return query.legend_format(legend) if legend else query
