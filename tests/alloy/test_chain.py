"""The whole chain on loopback, from the file to Loki's answer, where an agent and Loki are installed."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Callable, Iterator

import pytest

from sqmon.clock import utc_stamp
from tests.alloy.test_dashboards import PANELS, QUERIES, filled
from tests.alloy.test_limits import CROWDED, crowded_site
from tests.alloy.test_rules import FIRES, QUIET, RULE, Case, cases
from tests.support.agents import LABELS, Agent, Lines, seconds_under_way, torn, written_over_stops
from tests.support.logql import evaluated
from tests.support.logql_lines import Entry
from tests.support.loki import Loki, loki, program
from tests.support.program import wait_until
from tests.support.sites import EVALUATED, Site

RECORDS, SEGMENTS, STOPS = 20_000, 11, 2
STREAM = '{job="sqmon", metric="show_locks", cluster="chain"}'
SECONDS = 120.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    """Run one Loki for all tests here."""
    with loki(tmp_path_factory.mktemp("loki")) as running:
        yield running


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    """Run a Loki with the default limit of series."""
    with loki(tmp_path_factory.mktemp("strict"), ("max_query_series: 5000", "max_query_series: 500")) as running:
        yield running


@pytest.fixture(params=["alloy", "promtail", "fluent-bit"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Agent:
    """Return each agent that is installed, not yet started."""
    program(request.param)
    program("loki")
    return Agent(request.param, tmp_path, request.getfixturevalue("server").port)


def count(server: Loki, query: str) -> float:
    """Return how many lines Loki counts, including doubles, which its log queries hide."""
    return sum(value for _, value in server.vector(f"sum (count_over_time({query} [1h]))"))


def has_last(server: Loki, query: str) -> bool:
    """Whether the last record is there."""
    return count(server, f'{query} | json seq="seq" | seq="{RECORDS}"') > 0


def test_every_record_arrives_once(agent: Agent, server: Loki, record_property: Callable[[str, object], None]) -> None:
    """Each of 20,000 records is in Loki exactly once, with labels and time, over ten rotations and stops of the agent.

    Alloy loses a few lines when it is stopped while it reads a backlog: no more than were seen, and the report says how many.
    """
    lines = written_over_stops(agent, max_bytes=500_000)
    query = f'{STREAM} | run_id="{lines.run_id}"'
    allowed = STOPS * agent.lost_per_stop
    with agent:
        for _ in range(40):
            lines.poll(100)
        wait_until(lambda: count(server, query) >= RECORDS - allowed and has_last(server, query), SECONDS)
    lines.close()
    found = list(server.lines(query, 3600))
    seqs = Counter(json.loads(line)["seq"] for _, _, line in found)
    lost = set(range(1, RECORDS + 1)) - set(seqs)
    record_property("lost", sorted(lost))

    assert len(list(agent.log_dir.glob("*/*.jsonl"))) >= SEGMENTS
    assert len(lost) <= allowed, f"lost: {sorted(lost)}"
    assert count(server, query) == RECORDS - len(lost)
    assert set(seqs.values()) == {1}
    for labels, ts, line in found:
        record = json.loads(line)
        assert line == lines.written[record["seq"]]
        assert agent.has_time(ts, line)
        assert {**LABELS, "run_id": record["run_id"]}.items() <= labels.items()
        assert labels["filename"].startswith(str(agent.log_dir))
        assert "level" not in labels


def test_line_arrives_within_a_second(agent: Agent, server: Loki) -> None:
    """A line can be queried within a second of its write, at the median, when the file was idle before."""
    lines = Lines(agent.log_dir, max_bytes=1 << 20)
    query = f'{STREAM} | run_id="{lines.run_id}"'
    with agent:
        lines.poll(1)
        wait_until(lambda: count(server, query) == 1, SECONDS)
        seconds = seconds_under_way(lines, lambda seq: count(server, query) >= seq)
    lines.close()

    assert seconds < 1.0


def test_torn_line_is_dropped_and_counted(agent: Agent, server: Loki) -> None:
    """A torn line is dropped and counted, and the lines around it arrive."""
    lines, path = torn(agent)
    query = f'{STREAM} | run_id="{lines.run_id}"'
    with agent:
        wait_until(lambda: count(server, query) == 2, SECONDS)
        wait_until(lambda: agent.dropped() == 2)
    everything = f'{{job="sqmon", filename="{path}"}}'

    assert count(server, everything) == 2


def at_site(expr: str, site: str) -> str:
    """Return the expression for the lines of one case."""
    return expr.replace('{job="sqmon"', f'{{job="sqmon", cluster="{site}"')


def pushed(server: Loki, name: str, site: Site) -> list[tuple[dict[str, str], float]]:
    """Give Loki the lines of a case under a cluster of its own, and return what its rule finds."""
    entries = [entry._replace(labels={**entry.labels, "cluster": name}) for entry in site.entries]
    server.push(entries)
    return server.vector(at_site(RULE[name.partition("-")[0]]["expr"], name), EVALUATED)


def by_labels(found: list[tuple[dict[str, str], float]]) -> list[tuple[list[tuple[str, str]], float]]:
    """Return results in an order of their own, without the names of the clusters."""
    return sorted(
        (sorted((name, value) for name, value in labels.items() if name != "cluster"), round(number, 6)) for labels, number in found
    )


@pytest.mark.parametrize(("name", "case"), cases(FIRES))
def test_alert_fires_in_loki(server: Loki, name: str, case: Case) -> None:
    """An alert fires in Loki for the lines that fire it elsewhere, and finds what the interpreter finds."""
    site = case()
    found = pushed(server, f"{name}-fires-{time.monotonic_ns()}", site)

    assert found
    assert by_labels(found) == by_labels(evaluated(RULE[name]["expr"], site.entries, EVALUATED))


@pytest.mark.parametrize(("name", "case"), cases(QUIET))
def test_alert_stays_quiet_in_loki(server: Loki, name: str, case: Case) -> None:
    """An alert stays quiet in Loki for the lines for which it stays quiet elsewhere."""
    assert pushed(server, f"{name}-quiet-{time.monotonic_ns()}", case()) == []


def test_no_query_needs_a_raised_limit(strict: Loki) -> None:
    """With 1,247 locks and three times as many statements, every panel and rule is answered, and the rules name the oldest."""
    site = crowded_site()
    strict.push(site.entries)
    for panel in PANELS:
        if panel.kind != "logs":
            strict.vector(filled(panel.query), EVALUATED)
    found = {name: len(strict.vector(rule["expr"], EVALUATED)) for name, rule in RULE.items()}

    assert {name: found[name] for name in CROWDED} == dict.fromkeys(CROWDED, 20)


def test_lines_of_an_outage_are_found_when_they_come(server: Loki) -> None:
    """Lines of each of the last seven days are found before anything is flushed."""
    cluster = f"outage-{time.monotonic_ns()}"
    labels = {"job": "sqmon", "cluster": cluster, "instance": "host", "metric": "sqmon"}
    for day in range(8):
        stamp = utc_stamp((EVALUATED - day * 86400 - 3600) * 10**9)
        line = json.dumps({"ts": stamp, "seq": day + 1, "metric": "sqmon", "run_id": "r"})
        server.push([Entry(0, {**labels, "filename": f"/{day}.jsonl", "run_id": "r"}, line)])
    query = f'sum by (cluster) (count_over_time({{job="sqmon", cluster="{cluster}"}} [9d]))'

    assert server.vector(query, EVALUATED) == [({"cluster": cluster}, 8.0)]


@pytest.mark.parametrize("query", QUERIES)
def test_loki_parses_every_query(server: Loki, query: str) -> None:
    """Loki accepts every query, with the variables filled in as Grafana does."""
    text = filled(query)
    is_log = any(panel.kind == "logs" and panel.query == query for panel in PANELS)
    answer = server.get(
        f"/loki/api/v1/{'query_range' if is_log else 'query'}",
        query=text,
        **({} if is_log else {"time": int(time.time() * 1e9)}),
    )

    assert answer["status"] == "success"


def test_ruler_has_loaded_every_rule(server: Loki) -> None:
    """The ruler has loaded every rule of the shipped file and has no error for any."""
    groups = server.get("/prometheus/api/v1/rules")["data"]["groups"]

    assert {rule["name"] for group in groups for rule in group["rules"]} == set(RULE)
    assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
