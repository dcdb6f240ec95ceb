"""The metrics file: its two forms, and every way to get it wrong."""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any

import pytest

from sqmon.config import catalogue, metrics_file, read_only
from sqmon.config.settings import Metric
from sqmon.errors import ConfigError
from tests.support import ROOT

NO_NAME = "is not a metric name; use lower-case letters, digits and _, a letter first, at most 64 in all"
UNKNOWN = "is unknown; known are interval, timeout, query, allow_functions, allow_state_change, emit, keyframe_s"
SHIPPED = ROOT / "config_files" / "monitor_input.json"


def problems(entries: Any) -> list[str]:
    """Return the problems of a metrics file that holds `entries`."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    with pytest.raises(ConfigError) as caught:
        metrics_file.parse(text, "m.json")
    return caught.value.problems


def outcome(text: bytes) -> tuple[list[Metric], list[str]]:
    """Return the metrics of the file or its problems; anything else that is raised is a bug."""
    try:
        return metrics_file.parse(text, "m.json"), []
    except ConfigError as error:
        return [], error.problems


def test_shipped_file_is_the_built_in_five() -> None:
    """The file in config_files polls the same metrics, as often, as no file at all."""
    assert metrics_file.defaults() == metrics_file.parse(SHIPPED.read_bytes(), "m.json")
    assert [*catalogue.DEFAULT_METRICS] == [metric.name for metric in metrics_file.defaults()]


def test_number_form() -> None:
    """A number is the interval; the deadline is twice as long, and at least ten seconds."""
    short, long = metrics_file.parse(b'{"show_locks": 2, "show_cluster_nodes": 30.5}', "m.json")

    assert Metric("show_locks", 2.0, 10.0, "select show_locks();") == short
    assert Metric("show_cluster_nodes", 30.5, 61.0, "select show_cluster_nodes();") == long


def test_object_form() -> None:
    """An object gives the interval, the deadline and a query of one's own, under any name."""
    entry = {"interval": 60, "timeout": 7, "query": "select * from sqream_catalog.tables"}

    assert [Metric("big_tables", 60.0, 7.0, "select * from sqream_catalog.tables")] == metrics_file.parse(
        json.dumps({"big_tables": entry}).encode(), "m.json"
    )


def test_query_timeout_is_the_default_deadline() -> None:
    """--query_timeout is the deadline of an entry that names none."""
    text = b'{"show_locks": 2, "show_version": {"interval": 3, "timeout": 4}}'

    assert [33.0, 4.0] == [metric.timeout for metric in metrics_file.parse(text, "m.json", 33.0)]


def test_reset_needs_consent_and_is_a_command() -> None:
    """The original service's form of the statistics' reset is refused with the entry to write instead, which is accepted."""
    (refused,) = problems({"reset_leveldb_stats": 86400})
    entry = refused.partition("if that is wanted, write ")[2]
    (metric,) = metrics_file.parse(f"{{{entry}}}".encode(), "m.json")

    assert (metric.name, metric.interval, metric.is_command) == ("reset_leveldb_stats", 86400.0, True)


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (b"", 'm.json: is empty; write for example {"show_locks": 2}'),
        (b" \n", 'm.json: is empty; write for example {"show_locks": 2}'),
        (b"{", "m.json:1:2: is not JSON: expecting property name enclosed in double quotes"),
        (b"\xff", "m.json: is not UTF-8 text"),
        ([], 'm.json: must be an object of metric names and seconds, like {"show_locks": 2}'),
        ({}, 'm.json: names no metric; write for example {"show_locks": 2}'),
        (b'{"show_locks": 1, "show_locks": 2}', "m.json: show_locks: appears twice"),
        ({"show_lock": 2}, "m.json: show_lock: is not a known function; did you mean show_locks?"),
        ({"zzz": 2}, 'm.json: zzz: is not a known function; for a query of your own give {"interval": ..., "query": "select ..."}'),
        ({"Show_Locks": 2}, f"m.json: Show_Locks: {NO_NAME}"),
        ({"../evil": 2}, f"m.json: ../evil: {NO_NAME}"),
        ({"sqmon": 2}, "m.json: sqmon: is the name of the service's own stream; choose another name"),
        ({"show_locks": -1}, "m.json: show_locks: -1 must be greater than 0"),
        ({"show_locks": 0}, "m.json: show_locks: 0 must be greater than 0"),
        ({"show_locks": "2"}, "m.json: show_locks: '2' is not a number of seconds"),
        ({"show_locks": True}, "m.json: show_locks: true is not a number of seconds"),
        ({"show_locks": None}, "m.json: show_locks: null is not a number of seconds"),
        (b'{"show_locks": NaN}', "m.json: show_locks: nan must be greater than 0"),
        ({"show_locks": 0.001}, "m.json: show_locks: 0.001 must be from 0.05 to 31622400 seconds"),
        ({"show_locks": {"interval": -2}}, "m.json: show_locks.interval: -2 must be greater than 0"),
        ({"show_locks": {"interval": 2, "timeout": 0}}, "m.json: show_locks.timeout: 0 must be greater than 0"),
        ({"show_locks": {"interval": 2, "retries": 3}}, f"m.json: show_locks.retries: {UNKNOWN}"),
        ({"show_locks": {"intervall": 2, "interval": 2}}, "m.json: show_locks.intervall: is unknown; did you mean interval?"),
        ({"show_locks": {"timeout": 2}}, "m.json: show_locks.interval: is missing; give a number of seconds"),
        ({"show_locks": [2]}, "m.json: show_locks: a list is not a number of seconds"),
        ({"show_locks": {"interval": {}}}, "m.json: show_locks.interval: an object is not a number of seconds"),
        (b'{"show_locks": 1' + b"0" * 400 + b"}", "m.json: show_locks: inf must be from 0.05 to 31622400 seconds"),
        (b'{"show_locks": ' + b"1" * 5000 + b"}", "m.json: show_locks: inf must be from 0.05 to 31622400 seconds"),
        (b"[" * 100_000, "m.json: is nested too deeply"),
        (b'{"a":' * 100_000, "m.json: is nested too deeply"),
        (b"\xef\xbb\xbf", 'm.json: is empty; write for example {"show_locks": 2}'),
        (b'{"a\\ud800": 2}', "m.json: a\\ud800: " + NO_NAME),
        (b'{"\\u001b[2J": 2}', "m.json: \\x1b[2J: " + NO_NAME),
        ({"a" * 65: 2}, f"m.json: {'a' * 60}...: {NO_NAME}"),
        (b'{"show_locks": {"interval": 2, "\\ud800": 3}}', f"m.json: show_locks.\\ud800: {UNKNOWN}"),
        ({"show_locks": {"interval": 2, "query": 3}}, "m.json: show_locks.query: expected `str | null`, got `int`"),
        (b'{"show_locks": {"interval": 2, "interval": 3}}', "m.json: show_locks.interval: appears twice"),
        ({"a": {"interval": 2, "query": "drop table t"}}, "m.json: a.query: must start with select"),
        ({"shutdown_server": 5}, "m.json: shutdown_server: shuts the server down, so it is never polled"),
        ({"export_conn_stats": 5}, "m.json: export_conn_stats: writes a file on the server, so it is never polled"),
        (
            {"show_locks": {"interval": 2, "allow_state_change": True}},
            "m.json: show_locks.allow_state_change: is for reset_leveldb_stats alone",
        ),
        ({"show_locks": {"interval": 2, "allow_functions": ["f"]}}, "m.json: show_locks.allow_functions: is for a query"),
        (
            {"a": {"interval": 2, "query": "select f()", "allow_functions": ["F()"]}},
            "m.json: a.allow_functions: F() is not the name of a function in lower case",
        ),
        (
            {"a": {"interval": 2, "query": "select 1", "allow_functions": ["abort_server"]}},
            "m.json: a.allow_functions: abort_server ends the server, so it is never polled",
        ),
        (
            {"show_locks": {"interval": 2, "emit": "diffs"}},
            "m.json: show_locks.emit: invalid enum value 'diffs'",
        ),
        ({"show_locks": {"interval": 2, "emit": "changes", "keyframe_s": 0}}, "m.json: show_locks.keyframe_s: 0 must be greater than 0"),
        (
            {"get_total_chunks_size": 3600},
            'm.json: get_total_chunks_size: needs arguments; give {"interval": 3600, "query": "select get_total_chunks_size(\'GB\');"}',
        ),
    ],
)
def test_each_mistake_is_named(entries: Any, problem: str) -> None:
    """One line says where the mistake is and what would be right."""
    assert [problem] == problems(entries)


def test_every_problem_is_told_at_once() -> None:
    """Three mistakes are three lines."""
    found = problems({"show_lock": 2, "get_license_info": -3, "show_cluster_nodes": {"interval": "x", "timeout": "y"}})

    assert ["show_lock", "get_license_info", "show_cluster_nodes.interval", "show_cluster_nodes.timeout"] == [
        problem.split(": ")[1] for problem in found
    ]


def test_every_state_changing_function_is_refused() -> None:
    """No function that changes the server can be polled by its bare name."""
    for name in read_only.STATE_CHANGING:
        assert len(problems({name: 60})) == 1


def test_many_problems_end_early() -> None:
    """A file of ten thousand mistakes is refused after its first problems, which takes a hundredth of the time that all would take."""
    began = time.process_time()
    found = problems({f"a{number}": {f"b{column}": 1 for column in range(100)} for number in range(10_000)})

    assert time.process_time() - began < 20
    assert 20 < len(found) < 50
    assert found[-1] == "m.json: and more, which are told when these are put right"


def test_metrics_have_a_limit() -> None:
    """A file with more than a thousand metrics is refused."""
    entry = {"interval": 60, "query": "select show_locks()"}

    assert len(metrics_file.parse(json.dumps({f"a{number}": entry for number in range(1000)}).encode(), "m.json")) == 1000
    assert problems({f"a{number}": entry for number in range(1001)}) == [
        "m.json: names 1001 metrics; each is a process and a login of its own, so 1000 is the most"
    ]


def test_schema_is_allowed() -> None:
    """`$schema` is allowed for the sake of editors, and is no metric."""
    assert [metric.name for metric in metrics_file.parse(b'{"$schema": "s.json", "show_locks": 2}', "m.json")] == ["show_locks"]
    assert problems({"$schema": "s.json"}) == ['m.json: names no metric; write for example {"show_locks": 2}']


PIECES = (
    *(b'{ } [ ] " : , \\ \xff \xed\xa0\x80 \0 null true NaN -Infinity 1e999 -0 1 0.5 \xef\xbb\xbf'.split()),
    *(b'"interval" "timeout" "query" "allow_state_change" "allow_functions" "show_locks" "reset_leveldb_stats" "$schema"'.split()),
    *(b'"\\ud800" "select 1" "\\u0000" {"interval":2,"query":"select$$'.split()),
    b"9" * 5000,
    b"[" * 3000,
    b'{"a":' * 3000,
    b" ",
    b"\n",
)


@pytest.mark.parametrize("seed", range(20))
def test_no_bytes_do_more_than_a_refusal(seed: int) -> None:
    """Whatever the bytes are, the file is metrics or a ConfigError whose problems can be printed anywhere."""
    random = Random(seed)
    for _ in range(500):
        kind = random.randrange(3)
        if kind == 0:
            text = random.choice((b"", b'{"show_locks":')) + b"".join(random.choice(PIECES) for _ in range(random.randrange(12)))
        elif kind == 1:
            text = bytes(random.randrange(256) for _ in range(random.randrange(40)))
        else:
            mutable = bytearray(b'{"show_locks": 2, "mine": {"interval": 5, "timeout": 7, "query": "select f(\'x\') from t"}}')
            for _ in range(random.randrange(1, 5)):
                at = random.randrange(len(mutable))
                mutable[at : at + random.randrange(3)] = random.choice(PIECES)
            text = bytes(mutable)
        metrics, found = outcome(text)

        assert bool(metrics) != bool(found), text
        assert all(problem.isprintable() and problem.startswith("m.json") for problem in found), text
        assert all(0.05 <= metric.interval <= 31622400 and metric.query.encode() for metric in metrics), text
