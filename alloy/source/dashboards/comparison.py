"""The table that compares clusters: one line for each, one column for each question."""

from __future__ import annotations

import string
import warnings
from typing import Any, NamedTuple, Sequence

from alloy.source.dashboards.panels import Panel
from alloy.source.dashboards.query import asked, source
from alloy.source.logql import PLACE

with warnings.catch_warnings():
    # See panels.py.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import common as parts
    from grafana_foundation_sdk.builders import table
    from grafana_foundation_sdk.models import dashboard as models

_NAMELESS = "All"
"""What stands for the name of a cluster that has none: as the value of a variable, Grafana takes it for every cluster."""


class Column(NamedTuple):
    """A number of each cluster: its title, its query, and how it is shown."""

    title: str
    expr: str
    unit: str = "short"
    decimals: float = 0
    thresholds: Any = None


def comparison(title: str, description: str, columns: Sequence[Column], *, boards: Sequence[str], height: int) -> Panel:
    """Return a table with a line for each cluster and sqmon, those with the largest number in the first column on top.

    The name of a cluster leads to each of the dashboards `boards`, where that cluster is chosen.
    """
    values = {f"Value #{letter}": column for letter, column in zip(string.ascii_uppercase, columns)}
    assert len(values) == len(columns)
    order = (*PLACE, *values)
    organize = {
        "indexByName": {name: index for index, name in enumerate(order)},
        "renameByName": {name: column.title for name, column in values.items()},
    }
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(source("loki"))
        # The times go first: frames are merged by all the fields that they share.
        .with_transformation(models.DataTransformerConfig(id_val="filterFieldsByName", options={"exclude": {"names": ["Time"]}}))
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(models.DataTransformerConfig(id_val="organize", options=organize))
        .sort_by([parts.TableSortByFieldState().display_name(columns[0].title).desc(True)])
        .no_value("-")
        .override_by_field_type("string", [models.DynamicConfigValue("unit", "string")])
        .override_by_name("cluster", [_links(boards), models.DynamicConfigValue("mappings", [_NAMELESS_MAPPING])])
        .span(24)
        .height(height)
    )
    for letter, column in zip(string.ascii_uppercase, columns):
        panel = panel.with_target(asked(_named(column.expr), instant=True).ref_id(letter)).override_by_name(column.title, _look(column))
    return panel


_NAMELESS_MAPPING = models.ValueMap({_NAMELESS: models.ValueMappingResult("no name")})


def _named(expr: str) -> str:
    """Give every line a cluster: a frame without that field would be merged by its other fields alone."""
    return f'label_replace({expr}, "cluster", "{_NAMELESS}", "cluster", "")'


def _links(boards: Sequence[str]) -> Any:
    # The raw value, since the text of a cluster without a name is another one.
    chosen = "${source:queryparam}&var-cluster=${__value.raw}&var-instance=${__data.fields.instance}"
    links = [{"title": f"its {name}", "url": f"/d/sqmon-{name}?${{__url_time_range}}&{chosen}"} for name in boards]
    return models.DynamicConfigValue("links", links)


def _look(column: Column) -> list[Any]:
    look = [models.DynamicConfigValue("unit", column.unit), models.DynamicConfigValue("decimals", column.decimals)]
    if column.thresholds is not None:
        look += [
            models.DynamicConfigValue("thresholds", column.thresholds.build()),
            models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
        ]
    return look
