"""The dashboards: generated from their source, made of fields that exist, and filled by a real run of the service."""

from __future__ import annotations

import ast
import datetime as dt
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple, Optional

import pytest
import yaml

from sqmon.config import catalogue
from sqmon.simulator import Simulator
from sqmon.storage.reader import segments
from tests.alloy.test_agent_config import LABELS
from tests.support import ROOT
from tests.support.logql import Query, evaluated
from tests.support.logql_lines import Entry
from tests.support.program import service, wait_until

GRAFANA = ROOT / "alloy" / "grafana"
BOARDS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}
RECORD = {"ts", "seq", "metric", "run_id", "poll", "poll_rows", "truncated"}


class Panel(NamedTuple):
    """A panel: its dashboard, its query, and its JSON."""

    board: str
    title: str
    kind: str
    query: str
    json: dict[str, Any]


EVERY = ".*"
"""What stands for all clusters and sqmons: those without the label, too."""

TYPED = {"locks": ("object", "user", "statement"), "statements": ("user", "service", "statement")}
"""The variables of a dashboard into which people type a part of a text."""


def title_of(panel: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """Return the title of a panel, with that of the column where each column asks on its own."""
    if len(panel["targets"]) == 1:
        return str(panel["title"])
    (names,) = [each["options"]["renameByName"] for each in panel["transformations"] if each["id"] == "organize"]
    return f"{panel['title']}: {names['Value #' + target['refId']]}"


PANELS = [
    Panel(name, title_of(panel, target), panel["type"], target["expr"], panel)
    for name, board in BOARDS.items()
    for panel in board["panels"]
    for target in panel.get("targets", ())
]
QUERIES = [panel.query for panel in PANELS] + [
    rule["expr"]
    for group in yaml.safe_load((ROOT / "alloy" / "loki" / "rules.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]


def event_fields() -> set[str]:
    """Return every name that the service gives to a field of an event: keyword arguments and keys, where events are made."""
    names = {"ts", "seq", "metric", "run_id", "level", "event"}
    for path in (*(ROOT / "sqmon" / "supervisor").glob("*.py"), ROOT / "sqmon" / "storage" / "writer.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                names |= {keyword.arg for keyword in node.keywords if keyword.arg}
            elif isinstance(node, ast.Dict):
                names |= {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return names


def lifetime_fields() -> set[str]:
    """Return every key that a line of lifetimes can have, by the code that makes the lines."""
    names = {"ts", "seq", "metric", "run_id", "level", "event"}
    for path in (ROOT / "sqmon" / "lifetimes").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Dict):
                names |= {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
            elif isinstance(node, ast.Call):
                names |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return names


def fields(metric: str) -> set[str]:
    """Return every key that a line of this metric can have."""
    if metric == "sqmon":
        return event_fields()
    if metric == "lifetimes":
        return lifetime_fields()
    function = catalogue.FUNCTIONS[metric]
    return {*RECORD, *function.columns, *function.aliases, *function.computed}


def parsed(query: str) -> list[tuple[str, str]]:
    """Return the selectors of a query, each with what its `| json` names."""
    found = re.findall(r"\{(job=[^}]*)\}(?: \| json ((?:\w+=\"\w+\"(?:, )?)+))?", query)
    assert len(found) == query.count("{job="), query
    return found


def test_they_are_what_the_source_makes() -> None:
    """The dashboards' JSON is exactly what `python -m alloy.source` writes."""
    pytest.importorskip("grafana_foundation_sdk", reason="the SDK needs Python 3.11")
    from alloy.source.generated import files  # noqa: PLC0415 - needs the SDK

    made = files()

    assert made == {path: (ROOT / "alloy" / path).read_text("utf-8") for path in made}
    assert {f"grafana/dashboards/{name}.json" for name in BOARDS} == {path for path in made if path.startswith("grafana")}


def test_the_six_are_there() -> None:
    """The six dashboards exist, under the names by which they link to each other."""
    assert {board["uid"] for board in BOARDS.values()} == {f"sqmon-{name}" for name in BOARDS}
    assert set(BOARDS) == {"fleet", "overview", "locks", "statements", "metadata", "monitor"}


@pytest.mark.parametrize("query", QUERIES)
def test_every_field_exists(query: str) -> None:
    """Every field that a query reads is in the catalogue, under the name of some generation, or is a field of an event."""
    for selector, named in parsed(query):
        metric = re.search(r'metric="(\w+)"', selector)
        keys = set(re.findall(r'="(\w+)"', named))
        assert metric is not None or not keys, query
        assert metric is None or keys <= fields(metric[1])


@pytest.mark.parametrize("query", QUERIES)
def test_every_label_exists(query: str) -> None:
    """Every label that a query selects by is one that the agents give, and it groups by labels or by what it read from the line."""
    known = {*LABELS, "run_id"}
    for selector, named in parsed(query):
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector)) <= LABELS
        known |= set(re.findall(r'(\w+)="', named))
    grouped = {label for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for label in group.split(", ")}

    assert grouped <= known


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_names_the_fields_that_it_reads(query: str) -> None:
    """Every query names the fields that it reads, since a bare `| json` would make a label of every column."""
    assert not re.search(r"\| json *(\||\[|$)", query)


@pytest.mark.parametrize("name", ["show_server_status", "show_locks", "get_leveldb_stats"])
def test_older_names_are_read_beside_newer_ones(name: str) -> None:
    """A query that reads a column reads its older names too."""
    for query in QUERIES:
        for selector, named in parsed(query):
            if f'metric="{name}"' in selector:
                keys = set(re.findall(r'="(\w+)"', named))
                for older, newer in catalogue.FUNCTIONS[name].aliases.items():
                    assert (newer in keys) == (older in keys), query


@pytest.mark.parametrize("name", BOARDS)
def test_dashboards_have_their_variables(name: str) -> None:
    """Each dashboard can choose a Loki, clusters and instances, and every query of a panel or an annotation asks for the chosen ones."""
    variables = {variable["name"]: variable for variable in BOARDS[name]["templating"]["list"]}

    assert list(variables) == ["source", "cluster", "instance", *TYPED.get(name, ())]
    assert all(variables[text]["type"] == "textbox" for text in TYPED.get(name, ()))
    assert {text for text in TYPED.get(name, ()) if any(f"${text}" in panel.query for panel in PANELS if panel.board == name)} == {
        *TYPED.get(name, ())
    }
    assert (variables["source"]["type"], variables["source"]["query"]) == ("datasource", "loki")
    assert {variables[label]["query"]["label"] for label in ("cluster", "instance")} <= LABELS
    assert {variables[label]["allValue"] for label in ("cluster", "instance")} == {EVERY}
    marks = [each["expr"] for each in BOARDS[name]["annotations"]["list"]]
    for query in [panel.query for panel in PANELS if panel.board == name] + marks:
        for selector, _ in parsed(query):
            assert selector.endswith(', cluster=~"$cluster", instance=~"$instance"')


def grouped_by(query: str) -> list[str]:
    """Return the labels of a query's first grouping, which tell its results from each other."""
    found = re.search(r"\bby \(([^)]*)\)", query)
    assert found is not None, query
    return found[1].split(", ")


@pytest.mark.parametrize(
    "panel", [panel for panel in PANELS if panel.kind == "table" and len(panel.json["targets"]) == 1], ids=lambda panel: panel.title
)
def test_tables_show_what_they_group_by(panel: Panel) -> None:
    """A table of one query shows its number first, then each label, then the place; no unit makes a time out of a statement's number."""
    (organize,) = panel.json["transformations"]
    order = sorted(organize["options"]["indexByName"], key=organize["options"]["indexByName"].__getitem__)
    strings, *_ = panel.json["fieldConfig"]["overrides"]

    assert order[0] == "Value #A"
    assert order[-2:] == ["cluster", "instance"]
    assert set(order[1:]) == set(grouped_by(panel.query))
    assert strings["matcher"] == {"id": "byType", "options": "string"}
    assert {"id": "unit", "value": "string"} in strings["properties"]
    assert panel.json["options"]["sortBy"] == [{"displayName": organize["options"]["renameByName"]["Value #A"], "desc": True}]


@pytest.mark.parametrize("panel", [panel for panel in PANELS if panel.kind == "stat"], ids=lambda panel: panel.title)
def test_numbers_show_every_cluster(panel: Panel) -> None:
    """A number panel shows every row of the answer: reduced, it would show the last cluster's for all."""
    assert panel.json["options"]["reduceOptions"]["values"] is True
    assert panel.json["targets"][0]["queryType"] == "instant"
    assert "cluster" in grouped_by(panel.query)


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_beside_each_other(name: str) -> None:
    """Panels lie within 24 columns and don't overlap; each has a title of its own, a description and a number."""
    panels = BOARDS[name]["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert all(panel["type"] == "row" or panel["description"].endswith(".") for panel in panels)


def test_provisioning_finds_source_and_dashboards() -> None:
    """Grafana finds its data source and its dashboards at the paths that compose.yaml mounts."""
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/loki.yaml").read_text("utf-8"))["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/sqmon.yaml").read_text("utf-8"))["providers"]
    compose = yaml.safe_load((ROOT / "alloy/compose.yaml").read_text("utf-8"))["services"]
    mounts = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])

    assert (source["type"], source["url"]) == ("loki", "$LOKI_URL")
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert compose["grafana"]["environment"]["LOKI_URL"] == "http://loki:3100"
    assert all((ROOT / "alloy" / place).exists() for place in mounts)


def test_compose_pins_and_mounts_what_exists() -> None:
    """The compose file names a version for each image, opens no port to the outside, and mounts only files that exist."""
    services = yaml.safe_load((ROOT / "alloy/compose.yaml").read_text("utf-8"))["services"]

    assert set(services) == {"simulator", "sqmon", "alloy", "loki", "grafana"}
    for service_ in services.values():
        assert "build" in service_ or re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service_["image"])
        assert all(port.startswith("127.0.0.1:") for port in service_.get("ports", ()))
        for volume in service_.get("volumes", ()):
            place = volume.split(":")[0]
            assert not place.startswith(".") or (ROOT / "alloy" / place).exists()


def tailed(log_dir: Path) -> list[Entry]:
    """Return the lines of a directory with the labels and times that the shipped configuration gives them."""
    entries = []
    for directory in sorted(path for path in log_dir.iterdir() if path.is_dir() and path.name != "current"):
        for path in segments(log_dir, directory.name):
            for line in path.read_text("utf-8").splitlines():
                record = json.loads(line)
                seconds = float(_seconds(record["ts"]))
                labels = {
                    "job": "sqmon",
                    "cluster": record.get("cluster", "default"),
                    "instance": "host",
                    "filename": str(path),
                    "metric": record["metric"],
                }
                labels["run_id"] = record["run_id"]
                if "level" in record:
                    labels["level"] = record["level"]
                entries.append(Entry(seconds, labels, line))
    return entries


def _seconds(text: str) -> float:
    return dt.datetime.fromisoformat(text[:26] + "+00:00").timestamp()


@pytest.fixture(scope="module", params=["2024-05", "4.6", "4.10"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Entry]]:
    """Return what a service wrote that polled a simulated cluster of one generation, lost a worker, and got a wrong metrics file."""
    log_dir = tmp_path_factory.mktemp(f"run-{request.param}") / "lines"
    metrics = dict.fromkeys(catalogue.DEFAULT_METRICS, 0.3)
    with Simulator(version=request.param, rows_locks=30) as simulator, service(simulator.port, log_dir, metrics=metrics) as running:
        running.wait_for_polls(*metrics, count=3)
        os.kill(running.worker("show_locks"), signal.SIGKILL)
        running.wait_for("gap", target="show_locks")
        (log_dir.parent / "metrics.json").write_text("[]", "utf-8")
        running.wait_for("config_rejected")
        running.wait_for_polls("show_locks", count=2)
        wait_until(lambda: running.records("show_locks"))
        running.end()
        yield tailed(log_dir)


def filled(query: str, now: Optional[float] = None) -> str:
    """Return the query with the variables as Grafana fills them in: five minutes before now, of all clusters."""
    query = re.sub(r"\$__(auto|range)", "5m", query).replace("$cluster", EVERY).replace("$instance", EVERY)
    query = query.replace("${__to:date:seconds}", f"{time.time() if now is None else now:.0f}")
    return re.sub(r"\$(object|user|service|statement)\b", "", query)


# What shows trouble that this run doesn't have, or that the simulated cluster has only now and then.
SOMETIMES_EMPTY = {
    ("fleet", "Worst first: blocked"),
    ("fleet", "Worst first: deleted unread"),
    ("fleet", "Worst first: failing metrics"),
    ("fleet", "Worst first: nodes down"),
    ("fleet", "Worst first: queued"),
    ("locks", "Lasting locks now"),
    ("locks", "Orphaned locks"),
    ("locks", "Orphaned locks now"),
    ("locks", "Who waited"),
    ("locks", "Who waited for whom"),
    ("overview", "Queue per service"),
    ("monitor", "Failed polls"),
    ("monitor", "Skipped ticks"),
    ("statements", "Queue per service"),
    ("statements", "Statements that prepare or stop"),
    ("statements", "Waiting"),
    ("statements", "Waiting statements"),
}


def test_every_panel_shows_something(run: list[Entry]) -> None:
    """Every panel shows something of an ordinary cluster of each generation, except panels of trouble."""
    now = max(entry.time for entry in run) + 1
    empty = set()
    for panel in PANELS:
        query = filled(panel.query)
        if not (Query(query, run, now).lines() if panel.kind == "logs" else evaluated(query, run, now)):
            empty.add((panel.board, panel.title))

    assert empty <= SOMETIMES_EMPTY


def test_every_line_of_a_graph_has_a_name_of_its_own(run: list[Entry]) -> None:
    """Two clusters that are alike, with two sqmons each, give every line of a graph a name of its own."""
    sites = [{"cluster": cluster, "instance": instance} for cluster in ("one", "two") for instance in ("left", "right")]
    entries = [entry._replace(labels={**entry.labels, **site}) for entry in run for site in sites]
    now = max(entry.time for entry in run) + 1
    for panel in PANELS:
        if panel.kind == "timeseries":
            legend = panel.json["targets"][0]["legendFormat"]
            names = [
                re.sub(r"\{\{(\w+)\}\}", lambda found, labels=labels: labels.get(found[1], ""), legend)  # type: ignore[misc]
                for labels, _ in evaluated(filled(panel.query), entries, now)
            ]
            assert len(names) == len(set(names)), (panel.board, panel.title)


def test_links_lead_from_a_statement_to_its_locks_and_back() -> None:
    """The number of a statement leads to what the other dashboard knows of it, with the same clusters and times."""
    led = {
        (panel.board, override["matcher"]["options"], link["url"])
        for panel in PANELS
        for override in panel.json.get("fieldConfig", {}).get("overrides", ())
        for each in override["properties"]
        if each["id"] == "links"
        for link in each["value"]
        if override["matcher"]["options"] != "cluster"  # see test_fleet.py
    }

    assert {(board, column) for board, column, _ in led} == {
        ("locks", "statement_id"),
        ("locks", "root"),
        ("statements", "statement_id"),
    }
    for board, column, url in led:
        other = {"locks": "statements", "statements": "locks"}[board]
        assert url.startswith(f"/d/sqmon-{other}?${{__url_time_range}}&")
        assert "${cluster:queryparam}" in url
        assert url.endswith(f"&var-statement=${{__data.fields.{column}}}")


@pytest.mark.parametrize("name", BOARDS)
def test_annotations_mark_gaps_and_restarts(run: list[Entry], name: str) -> None:
    """Every dashboard marks gaps, restarts of the server and starts of sqmon; a service that lost a worker has the first and the last."""
    annotations = {each["name"]: each["expr"] for each in BOARDS[name]["annotations"]["list"]}
    now = max(entry.time for entry in run) + 1

    assert list(annotations) == ["gaps", "restarts of SQreamDB", "starts of sqmon"]
    marked = {title for title, expr in annotations.items() if Query(filled(expr), run, now).lines()}
    assert marked == {"gaps", "starts of sqmon"}


def test_panels_show_no_nameless_groups(run: list[Entry]) -> None:
    """Each line of the table of locks has a statement and a mode, whatever the server calls them."""
    now = max(entry.time for entry in run) + 1
    (query,) = (panel.query for panel in PANELS if panel.title == "Who holds what, for how long")
    found = evaluated(filled(query), run, now)

    assert found
    assert all({"statement_id", "lock_mode", "username", "locked_object"} <= set(labels) for labels, _ in found)
