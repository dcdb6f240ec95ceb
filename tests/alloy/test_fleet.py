"""The dashboard of all clusters: a line for each, the worst on top, with a way to everything about it."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any, Mapping, Optional

import pytest

from sqmon.config import catalogue, thresholds
from sqmon.simulator import Simulator
from tests.alloy.test_dashboards import BOARDS, PANELS, filled, tailed
from tests.alloy.test_rules import blocked, failures, licences, locks, queue, two_nodes_then_one
from tests.records.test_computed import NEW_LOCKS
from tests.supervisor.test_clusters import Files, watching
from tests.support.logql import DEFAULTS, evaluated
from tests.support.logql_lines import Entry
from tests.support.program import service, wait_until
from tests.support.sites import EVALUATED, LICENCE, NODES, STATUS, Site, licence, lock, node, own, statement

(TABLE,) = [panel for panel in BOARDS["fleet"]["panels"] if panel["type"] == "table"]
QUERIES = {panel.title.removeprefix("Worst first: "): panel.query for panel in PANELS if panel.board == "fleet"}
T = thresholds


def shown(entries: list[Entry], now: float = EVALUATED) -> dict[str, dict[str, float]]:
    """Return the numbers of each cluster by their columns, in the order of the lines, as Grafana merges and sorts them."""
    lines: dict[str, dict[str, float]] = {}
    for title, query in QUERIES.items():
        for labels, value in evaluated(filled(query, now), entries, now, limits=DEFAULTS):
            assert {"cluster", "instance"} == set(labels)
            lines.setdefault(labels["cluster"], {})[title] = value
    return dict(sorted(lines.items(), key=lambda line: line[1].get("troubles", -1), reverse=True))


def at(cluster: Optional[str], *sites: Site) -> list[Entry]:
    """Return the lines of sites as those of one cluster; None has no such label."""
    named = {} if cluster is None else {"cluster": cluster}
    plain = [(entry, {name: text for name, text in entry.labels.items() if name != "cluster"}) for site in sites for entry in site.entries]
    return [entry._replace(labels={**labels, **named}) for entry, labels in plain]


def well() -> Site:
    """Return a cluster in good order."""
    site = Site().polls("show_server_status", STATUS, [own(), statement("Executing", 60, 60), statement("In Queue", 60, 50, number=12)])
    site.polls("show_locks", NEW_LOCKS, [lock(700)]).polls("get_license_info", LICENCE, [licence()])
    return site.polls("show_cluster_nodes", NODES, [node("node_1"), node("node_2")])


def test_one_line_tells_all_of_a_cluster() -> None:
    """A cluster in good order has each of its numbers, and no trouble; what didn't happen is empty."""
    assert shown(at("prod", well())) == {
        "prod": {
            "troubles": 0,
            "nodes up": 2,
            "running": 1,
            "queued": 1,
            "oldest lock": 700,
            "licence used": pytest.approx(0.1),
            "licence days": 365,
            "last good poll": 1,
        }
    }


WRONG: Mapping[str, tuple[Site, float]] = {
    "nodes down": (two_nodes_then_one(), 1),
    "queued": (queue(T.QUEUE_DEPTH + 1), T.QUEUE_DEPTH + 1),
    "oldest lock": (locks(lock(T.LOCK_SECONDS + 60)), T.LOCK_SECONDS + 55),
    "blocked": (blocked(T.BLOCKED_STATEMENTS), T.BLOCKED_STATEMENTS),
    "licence used": (licences(used=100 * T.LICENCE_USED.warning + 1), T.LICENCE_USED.warning + 0.01),
    "licence days": (licences(days=int(T.LICENCE_DAYS.warning) - 1), T.LICENCE_DAYS.warning - 1),
    "gaps": (Site().event("gap", "warning", target="show_locks", reason="the connection was refused", lasted_s=3.0), 1),
    "failing metrics": (failures(T.FAILURES), 1),
    "deleted unread": (Site().event("segment_deleted", "warning", file="a/b", reason="size", target="show_locks"), 1),
}


@pytest.mark.parametrize("column", WRONG)
def test_trouble_counts_and_comes_first(column: str) -> None:
    """What an alert would tell is one trouble, and puts the cluster above those in good order."""
    site, number = WRONG[column]
    lines = shown([*at("dev", well()), *at("prod", site), *at("test", well())])

    assert next(iter(lines)) == "prod"
    assert {name: line["troubles"] for name, line in lines.items()} == {"prod": 1, "dev": 0, "test": 0}
    assert lines["prod"][column] == pytest.approx(number)


def test_silent_cluster_is_shown_and_in_trouble() -> None:
    """A cluster of which nothing has come for longer than an alert allows is a line as long as the range reaches back to it."""
    silent = Site().polls("show_locks", NEW_LOCKS, [lock(60)], at=[T.SILENT_SECONDS - 1 + ago for ago in (2, 30)])
    lines = shown([*at("dev", well()), *at("prod", silent)], EVALUATED)
    longer = {title: query.replace("$__range", "1h") for title, query in QUERIES.items()}
    found = {title: evaluated(filled(query, EVALUATED), at("prod", silent), EVALUATED) for title, query in longer.items()}

    assert set(lines) == {"dev"}
    assert {title: value for title, ((_, value),) in ((each, rows) for each, rows in found.items() if rows)} == {
        "troubles": 1,
        "last good poll": T.SILENT_SECONDS + 2,
    }


@pytest.mark.parametrize("cluster", [None, ""])
def test_cluster_without_a_name_is_a_line(cluster: Optional[str]) -> None:
    """A cluster whose lines have no label, or an empty one, is a line of its own beside others, called `no name`."""
    lines = shown([*at(cluster, well()), *at("prod", WRONG["nodes down"][0])])
    (look,) = [each["properties"] for each in TABLE["fieldConfig"]["overrides"] if each["matcher"]["options"] == "cluster"]
    (mapping,) = [each["value"] for each in look if each["id"] == "mappings"]

    assert [*lines] == ["prod", "All"]
    assert lines["All"]["nodes up"] == 2
    assert mapping == [{"options": {"All": {"text": "no name"}}, "type": "value"}]


def test_cluster_leads_to_its_other_dashboards() -> None:
    """The name of a cluster leads to every other dashboard, where it is chosen, with the same times."""
    (look,) = [each["properties"] for each in TABLE["fieldConfig"]["overrides"] if each["matcher"]["options"] == "cluster"]
    (links,) = [each["value"] for each in look if each["id"] == "links"]
    boards = {link["url"].partition("?")[0].removeprefix("/d/sqmon-") for link in links}

    assert boards == set(BOARDS) - {"fleet"}
    assert all("${__url_time_range}&" in link["url"] for link in links)
    assert all(link["url"].endswith("&var-cluster=${__value.raw}&var-instance=${__data.fields.instance}") for link in links)


def steps(override: Mapping[str, Any]) -> list[float]:
    """Return the values at which a column changes its colour."""
    found = [each["value"]["steps"] for each in override["properties"] if each["id"] == "thresholds"]
    return [step["value"] for step in found[0] if step["value"] is not None] if found else []


def test_colours_are_those_of_the_alerts() -> None:
    """The columns change colour at the values of the alerts, and the first one sorts."""
    colours = {each["matcher"]["options"]: steps(each) for each in TABLE["fieldConfig"]["overrides"]}

    assert {name: values for name, values in colours.items() if values} == {
        "troubles": [1],
        "nodes down": [1],
        "queued": [T.QUEUE_DEPTH],
        "oldest lock": [T.LOCK_SECONDS],
        "blocked": [T.BLOCKED_STATEMENTS],
        "licence used": [*T.LICENCE_USED],
        "licence days": [*reversed(T.LICENCE_DAYS)],
        "last good poll": [T.SILENT_SECONDS],
        "gaps": [1],
        "failing metrics": [1],
        "deleted unread": [1],
    }
    assert TABLE["options"]["sortBy"] == [{"displayName": "troubles", "desc": True}]
    assert set(colours) - {"string", "cluster"} == set(QUERIES)


def test_hundred_clusters_are_answered() -> None:
    """A hundred clusters need no raised limit of Loki, each is a line, and every one in trouble says so."""
    entries = [entry for number in range(100) for entry in at(f"c{number}", two_nodes_then_one())]
    lines = shown(entries)

    assert len(lines) == 100
    assert {line["nodes down"] for line in lines.values()} == {1}


def test_clusters_of_one_service(tmp_path: Path) -> None:
    """Of two clusters of one service, the one whose database is gone comes first, and the other has no trouble."""
    files = Files(tmp_path / "clusters")
    metrics = dict.fromkeys(catalogue.DEFAULT_METRICS, 0.3)
    with Simulator(seed=1) as dev, contextlib.ExitStack() as database:
        prod = database.enter_context(Simulator(seed=2))
        files.put("prod", port=prod.port, metrics=metrics)
        files.put("dev", port=dev.port, metrics=metrics)
        with watching(files, tmp_path / "logs") as run:
            for name in ("prod", "dev"):
                run.cluster(name).wait_for_polls(*metrics)
            database.close()
            gone = run.cluster("prod")
            # Only one of its workers goes on knocking.
            wait_until(lambda: max(Counter(end["target"] for end in gone.events("worker_exit")).values(), default=0) >= T.FAILURES)
            assert run.end() == 0
    entries = [entry for name in ("prod", "dev") for entry in tailed(run.log_dir / name)]
    lines = shown(entries, max(entry.time for entry in entries) + 1)

    assert [*lines] == ["prod", "dev"]
    assert lines["dev"]["troubles"] == 0
    assert lines["dev"]["nodes up"] > 0
    assert lines["prod"]["failing metrics"] >= 1
    assert lines["prod"]["last good poll"] > lines["dev"]["last good poll"]


@pytest.mark.parametrize("options", [(), ("--cluster", "prod")])
def test_service_alone_is_a_line(options: tuple[str, ...], tmp_path: Path) -> None:
    """A service of one cluster is a line, whether it has a name or the one that agents give."""
    metrics = {"show_cluster_nodes": 0.2}
    with Simulator() as simulator, service(simulator.port, tmp_path / "logs", *options, metrics=metrics) as run:
        run.wait_for_polls(*metrics)
        assert run.end() == 0
    entries = tailed(run.log_dir)
    (line,) = shown(entries, max(entry.time for entry in entries) + 1).items()

    assert line[0] == (options[1] if options else "default")
    assert line[1]["nodes up"] > 0
