"""The kinds of panels, and what all dashboards share: variables, links, refresh."""

from __future__ import annotations

import warnings
from typing import Any, Mapping, NamedTuple, Optional, Sequence, Union

from alloy.source.dashboards.annotations import marks
from alloy.source.dashboards.query import asked, source, source_of
from alloy.source.logql import PLACE
from sqmon.config.thresholds import Levels

with warnings.catch_warnings():
    # The SDK warns of the classic schema, which is the one that Grafana 12 and 13 both load from files.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import common as parts
    from grafana_foundation_sdk.builders import dashboard, logs, stat, table, timeseries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common
    from grafana_foundation_sdk.models import dashboard as models

Panel = Any
"""A builder of the SDK."""

_GREEN, _YELLOW, _RED = "green", "orange", "red"
_STREAM = '{job="sqmon"}'
_EVERY = "30s"  # the shortest interval of a graph: one shorter than the time between two polls would leave holes
_HEIGHT = 8
YES_NO = (models.ValueMap({"0": models.ValueMappingResult("no"), "1": models.ValueMappingResult("yes")}),)
"""The words for the server's 0 and 1."""


def above(limit: Union[float, Levels]) -> Any:
    """Return thresholds that get worse upwards."""
    steps = [models.Threshold(None, _GREEN)]
    if isinstance(limit, Levels):
        steps += [models.Threshold(limit.warning, _YELLOW), models.Threshold(limit.critical, _RED)]
    else:
        steps.append(models.Threshold(limit, _RED))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def below(limit: Levels) -> Any:
    """Return thresholds that get worse downwards."""
    steps = [models.Threshold(None, _RED), models.Threshold(limit.critical, _YELLOW), models.Threshold(limit.warning, _GREEN)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _neutral() -> Any:
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps([models.Threshold(None, "blue")])


def series(*labels: str) -> str:
    """Return the legend for lines that differ in these labels, their cluster and their sqmon."""
    return " ".join(f"{{{{{label}}}}}" for label in (*labels, *PLACE))


def number(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str = "short",
    decimals: Optional[float] = None,
    thresholds: Any = None,
    mappings: Sequence[Any] = (),
    beside_course: bool = False,
    span: int = 6,
) -> Panel:
    """Return the latest value of each cluster and sqmon in large digits."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(source_of(expr))
        .with_target(asked(expr, instant=True))
        # The answer to an instant query is a table. Reduced, it would show its last row for every cluster.
        .reduce_options(parts.ReduceDataOptions().values(True).calcs([]))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .thresholds(thresholds or _neutral())
        .mappings(list(mappings))
        .unit(unit)
        .no_value("none")
        .span(span)
        .height(_HEIGHT if beside_course else 5)
    )
    return panel if decimals is None else panel.decimals(decimals)


def mean(title: str, expr: str, description: str = "", **more: Any) -> Panel:
    """Return the same for what `per_poll` gives: a mean, so with a decimal place."""
    return number(title, f"{description} Mean of the polls within two minutes.".strip(), expr, decimals=1, **more)


def listing(
    title: str,
    description: str,
    expr: str,
    value: str,
    columns: Sequence[str],
    *,
    unit: str = "short",
    thresholds: Any = None,
    links: Mapping[str, str] = {},
    span: int = 24,
) -> Panel:
    """Return a table of the groups of an instant query, largest value first: `value`, then the labels `columns`, then where it is.

    `links` leads from the cells of a column to the dashboard of this name, which shows what has the same value.
    """
    order = ("Value #A", *columns, *PLACE)
    organize = {
        "excludeByName": {"Time": True},
        "indexByName": {name: index for index, name in enumerate(order)},
        "renameByName": {"Value #A": value},
    }
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(source_of(expr))
        .with_target(asked(expr, instant=True))
        .with_transformation(models.DataTransformerConfig(id_val="organize", options=organize))
        .sort_by([parts.TableSortByFieldState().display_name(value).desc(True)])
        .thresholds(thresholds or _neutral())
        .unit(unit)
        .no_value("none")
        # Grafana applies the unit to everything that looks like a number: statement 592 would read "9.87 mins".
        .override_by_field_type("string", [models.DynamicConfigValue("unit", "string"), models.DynamicConfigValue("noValue", "-")])
        .span(span)
        .height(_HEIGHT)
    )
    if thresholds is not None:
        coloured = models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"})
        panel = panel.override_by_name(value, [coloured])
    for column, name in links.items():
        address = f"/d/sqmon-{name}?${{__url_time_range}}&${{source:queryparam}}&${{cluster:queryparam}}&${{instance:queryparam}}"
        link = {"title": f"its {name}", "url": f"{address}&var-statement=${{__data.fields.{column}}}"}
        panel = panel.override_by_name(column, [models.DynamicConfigValue("links", [link])])
    return panel


def course(
    title: str,
    description: str,
    expr: str,
    *,
    legend: str,
    unit: str = "short",
    thresholds: Any = None,
    stacked: bool = False,
    span: int = 12,
) -> Panel:
    """Return a graph over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(source_of(expr))
        .with_target(asked(expr, instant=False, legend=legend))
        .interval(_EVERY)
        .unit(unit)
        .thresholds(thresholds or _neutral())
        .min(0)
        .line_width(1)
        .fill_opacity(30 if stacked else 5)
        .stacking(parts.StackingConfig().mode(common.StackingMode.NORMAL if stacked else common.StackingMode.NONE))
        .span_nulls(False)
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .span(span)
        .height(_HEIGHT)
    )
    if thresholds is not None:
        panel = panel.thresholds_style(parts.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    return panel


def lines(title: str, description: str, expr: str) -> Panel:
    """Return the lines themselves, newest first."""
    return (
        logs.Panel()
        .title(title)
        .description(description)
        .datasource(source_of(expr))
        .with_target(asked(expr, instant=False).max_lines(200))
        .show_time(True)
        .wrap_log_message(True)
        .enable_log_details(True)
        .sort_order(common.LogsSortOrder.DESCENDING)
        .span(24)
        .height(10)
    )


class Section(NamedTuple):
    """A row of a dashboard and the panels below it."""

    title: str
    panels: Sequence[Panel]


def _loki_values(label: str, stream: str) -> dict[str, Any]:
    return {"label": label, "stream": stream, "type": 1, "refId": "LokiVariableQueryEditor-VariableQuery"}


def _prometheus_values(label: str, gauge: str) -> dict[str, Any]:
    query = f"label_values({gauge}, {label})"
    return {"qryType": 1, "label": label, "metric": gauge, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"}


def _variable(name: str, kind: str, query: dict[str, Any]) -> Any:
    return (
        dashboard.QueryVariable(name)
        .label(name)
        .datasource(source(kind))
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")  # a cluster may have no name
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _variables(kind: str) -> list[Any]:
    """Return the choices at the top of a dashboard: where the data is, and of which cluster and sqmon it is."""
    if kind == "prometheus":
        queries = [_prometheus_values(label, "sqmon_config_ok") for label in PLACE]
    else:
        queries = [_loki_values("cluster", _STREAM), _loki_values("instance", '{job="sqmon", cluster=~"$cluster"}')]
    source = dashboard.DatasourceVariable("source").label(kind.capitalize()).type(kind)
    return [source, *(_variable(name, kind, query) for name, query in zip(PLACE, queries))]


def board(
    name: str,
    title: str,
    description: str,
    sections: Sequence[Section],
    *,
    since: Optional[str] = None,
    texts: Sequence[str] = (),
    kind: str = "loki",
    refresh: str = "10s",
) -> str:
    """Return the JSON of the dashboard whose uid is `sqmon-<name>`, for a data source of that kind.

    `texts` are variables into which people type a part of a text.
    """
    built = (
        dashboard.Dashboard(title)
        .uid(f"sqmon-{name}")
        .description(description)
        .tags(["sqmon", "sqreamdb"])
        .editable()
        .time(since or "now-1h", "now")
        .timezone("browser")
        .refresh(refresh)
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .annotations(marks() if kind == "loki" else [])
        .link(dashboard.DashboardLink("sqmon").type(models.DashboardLinkType.DASHBOARDS).tags(["sqmon"]).include_vars(True).keep_time(True))
    )
    for variable in _variables(kind):
        built = built.with_variable(variable)
    for text in texts:
        built = built.with_variable(dashboard.TextBoxVariable(text).label(text).default_value(""))
    identity = 0
    for section in sections:
        identity += 1
        built = built.with_row(dashboard.Row(section.title).id(identity))
        for panel in section.panels:
            identity += 1
            built = built.with_panel(panel.id(identity))
    made = built.build()
    for link in made.links or ():
        link.placement = None  # type: ignore[assignment]  # Grafana 13 would hide the link in a menu
    return JSONEncoder(sort_keys=True, indent=2).encode(made) + "\n"
