"""The metrics file: its two forms, and every way to get it wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sqmon.config import catalogue, metrics_file, read_only
from sqmon.config.settings import Metric
from sqmon.errors import ConfigError
from tests.support import ROOT

SHIPPED = ROOT / "config_files" / "monitor_input.json"


def problems(entries: Any) -> list[str]:
    """Return the problems of a metrics file that holds `entries`."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    with pytest.raises(ConfigError) as caught:
        metrics_file.parse(text, "m.json")
    return caught.value.problems


def test_shipped_file_is_the_built_in_five() -> None:
    """The file in config_files polls what is polled without a file, as often."""
    assert metrics_file.defaults() == metrics_file.parse(SHIPPED.read_bytes(), "m.json")
    assert [*catalogue.DEFAULT_METRICS] == [metric.name for metric in metrics_file.defaults()]


def test_number_form() -> None:
    """A number is the interval; the deadline is twice as long, ten seconds at least."""
    short, long = metrics_file.parse(b'{"show_locks": 2, "show_cluster_nodes": 30.5}', "m.json")

    assert Metric("show_locks", 2.0, 10.0, "select show_locks();") == short
    assert Metric("show_cluster_nodes", 30.5, 61.0, "select show_cluster_nodes();") == long


def test_object_form() -> None:
    """An object gives interval, deadline and a query of one's own, under any name."""
    entry = {"interval": 60, "timeout": 7, "query": "select * from sqream_catalog.tables"}

    assert [Metric("big_tables", 60.0, 7.0, "select * from sqream_catalog.tables")] == metrics_file.parse(
        json.dumps({"big_tables": entry}).encode(), "m.json"
    )


def test_query_timeout_is_the_default_deadline() -> None:
    """What --query_timeout says holds where the entry does not say otherwise."""
    text = b'{"show_locks": 2, "show_version": {"interval": 3, "timeout": 4}}'

    assert [33.0, 4.0] == [metric.timeout for metric in metrics_file.parse(text, "m.json", 33.0)]


def test_reset_needs_consent_and_is_a_command() -> None:
    """The statistics' reset is refused as a number and accepted when its effect is asked for."""
    refused = problems({"reset_leveldb_stats": 86400})
    (metric,) = metrics_file.parse(b'{"reset_leveldb_stats": {"interval": 86400, "allow_state_change": true}}', "m.json")

    assert (1, True) == (len(refused), "allow_state_change" in refused[0])
    assert metric.is_command


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (b"", 'm.json: is empty; write for example {"show_locks": 2}'),
        (b" \n", 'm.json: is empty; write for example {"show_locks": 2}'),
        (b"{", "m.json:1:2: is not JSON: expecting property name enclosed in double quotes"),
        (b"\xff", "m.json: is not UTF-8 text"),
        ([], 'm.json: must be an object of metric names and seconds, like {"show_locks": 2}'),
        ({}, 'm.json: names no metric; write for example {"show_locks": 2}'),
        (b'{"show_locks": 1, "show_locks": 2}', "m.json: show_locks: is there twice"),
        ({"show_lock": 2}, "m.json: show_lock: is no known function; did you mean show_locks?"),
        ({"zzz": 2}, 'm.json: zzz: is no known function; for a query of your own give {"interval": ..., "query": "select ..."}'),
        ({"Show_Locks": 2}, "m.json: Show_Locks: is no metric name; use lower-case letters, digits and _, a letter first"),
        ({"../evil": 2}, "m.json: ../evil: is no metric name; use lower-case letters, digits and _, a letter first"),
        ({"sqmon": 2}, "m.json: sqmon: is the name of the service's own stream; choose another name"),
        ({"show_locks": -1}, "m.json: show_locks: -1 must be greater than 0"),
        ({"show_locks": 0}, "m.json: show_locks: 0 must be greater than 0"),
        ({"show_locks": "2"}, "m.json: show_locks: '2' is not a number of seconds"),
        ({"show_locks": True}, "m.json: show_locks: 'True' is not a number of seconds"),
        ({"show_locks": None}, "m.json: show_locks: 'None' is not a number of seconds"),
        (b'{"show_locks": NaN}', "m.json: show_locks: nan must be greater than 0"),
        ({"show_locks": 0.001}, "m.json: show_locks: 0.001 must be from 0.05 to 31622400 seconds"),
        ({"show_locks": {"interval": -2}}, "m.json: show_locks.interval: -2 must be greater than 0"),
        ({"show_locks": {"interval": 2, "timeout": 0}}, "m.json: show_locks.timeout: 0 must be greater than 0"),
        ({"show_locks": {"interval": 2, "retries": 3}}, "m.json: show_locks: object contains unknown field `retries`"),
        ({"show_locks": {"interval": 2, "query": 3}}, "m.json: show_locks.query: expected `str | null`, got `int`"),
        (b'{"show_locks": {"interval": 2, "interval": 3}}', "m.json: show_locks.interval: is there twice"),
        ({"a": {"interval": 2, "query": "drop table t"}}, "m.json: a.query: must start with select"),
        ({"shutdown_server": 5}, "m.json: shutdown_server: shuts the server down, so it is never polled"),
        ({"export_conn_stats": 5}, "m.json: export_conn_stats: writes a file on the server, so it is never polled"),
        (
            {"show_locks": {"interval": 2, "allow_state_change": True}},
            "m.json: show_locks.allow_state_change: is for reset_leveldb_stats alone",
        ),
        (
            {"get_total_chunks_size": 3600},
            'm.json: get_total_chunks_size: needs arguments; give {"interval": 3600, "query": "select get_total_chunks_size(\'GB\');"}',
        ),
    ],
)
def test_each_mistake_is_named(entries: Any, problem: str) -> None:
    """One clear line says where the mistake is and what would be right."""
    assert [problem] == problems(entries)


def test_every_problem_is_told_at_once() -> None:
    """Three mistakes are three lines, not three attempts."""
    found = problems({"show_lock": 2, "get_license_info": -3, "show_cluster_nodes": {"interval": "x", "timeout": "y"}})

    assert ["show_lock", "get_license_info", "show_cluster_nodes.interval", "show_cluster_nodes.timeout"] == [
        problem.split(": ")[1] for problem in found
    ]


def test_every_state_changing_function_is_refused() -> None:
    """None of them can be polled by its bare name."""
    for name in read_only.STATE_CHANGING:
        assert len(problems({name: 60})) == 1
