"""`sqmon schema`: the schema of the metrics file and its reader agree on what is right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqmon.cli import schema
from sqmon.config import catalogue, clusters, metrics_file
from sqmon.config.settings import Connection
from sqmon.errors import ConfigError
from tests.support import ROOT
from tests.support.program import ended

SCHEMA = json.loads(schema.text("metrics"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def reader_accepts(document: Any) -> bool:
    """Return whether the service would load it."""
    try:
        metrics_file.parse(json.dumps(document).encode(), "m.json")
    except ConfigError:
        return False
    return True


def test_schema_is_one(tmp_path: Path) -> None:
    """The command prints a schema of the dialect that it names, which describes every field."""
    assert json.loads(ended("schema", "metrics", cwd=tmp_path).stdout) == SCHEMA
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["$defs"]["entry"]["properties"].keys() == set(metrics_file.Entry.__struct_fields__)
    assert all(field["description"] for field in SCHEMA["$defs"]["entry"]["properties"].values())
    assert catalogue.FUNCTIONS.keys() < SCHEMA["properties"].keys()


def test_files_that_are_shown_are_right() -> None:
    """The shipped metrics file and the example of the reference are what the schema describes."""
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    (example,) = [block for block in re.findall(r"^```json\n(.*?)^```", reference, re.MULTILINE | re.DOTALL) if "interval" in block]

    VALIDATOR.validate(json.loads((ROOT / "config_files" / "monitor_input.json").read_text("utf-8")))
    VALIDATOR.validate(json.loads(example))
    VALIDATOR.validate({"$schema": "metrics.schema.json", "show_locks": 2})


WRONG: list[Any] = [
    [],
    {},
    {"$schema": "metrics.schema.json"},
    {"show_locks": 0},
    {"show_locks": 0.01},
    {"show_locks": "2"},
    {"show_locks": True},
    {"show_locks": None},
    {"show_locks": {}},
    {"show_locks": {"interval": 2, "timout": 1}},
    {"show_locks": {"interval": 2, "emit": "row"}},
    {"show_locks": {"interval": 2, "keyframe_s": None}},
    {"show_locks": {"interval": 2, "allow_state_change": True}},
    {"show_locks": {"interval": 2, "allow_functions": ["mine"]}},
    {"show_lokcs": 2},
    {"Show_locks": 2},
    {"sqmon": {"interval": 2, "query": "select 1;"}},
    {"current": {"interval": 2, "query": "select 1;"}},
    {"abort_server": 2},
    {"abort_server": {"interval": 2, "allow_state_change": True}},
    {"reset_leveldb_stats": 86400},
    {"reset_leveldb_stats": {"interval": 86400}},
    {"reset_leveldb_stats": {"interval": 86400, "allow_state_change": True, "allow_functions": ["mine"]}},
    {"mine": {"interval": 2, "query": "select 1;", "allow_functions": ["No"]}},
    {"mine": {"interval": 2, "query": 1}},
    {name: {"interval": 2, "query": "select 1;"} for name in (f"m{number}" for number in range(1001))},
]


@pytest.mark.parametrize("document", WRONG, ids=lambda document: json.dumps(document)[:60])
def test_mistakes_are_seen(document: Any) -> None:
    """What the service refuses, the schema refuses."""
    assert not reader_accepts(document)
    assert not VALIDATOR.is_valid(document)


FUNCTION_WITH_ARGUMENTS = next(function.name for function in catalogue.FUNCTIONS.values() if function.arguments)
NAMES = st.sampled_from(
    [
        *("show_locks", "show_version", "reset_leveldb_stats", "abort_server", FUNCTION_WITH_ARGUMENTS, "mine"),
        *("current", "sqmon", "Mine", "m" * 65, "", "$schema"),
    ]
)
SECONDS: st.SearchStrategy[Any] = st.sampled_from([2, 0.05, 0.049, 31622400, 31622401, 0, -1, 1e300, True, None, "2", []])
FIELDS = {
    "interval": SECONDS,
    "timeout": SECONDS,
    "query": st.sampled_from(["select 1;", None, 3]),
    "allow_functions": st.lists(st.sampled_from(["mine", "no name", 3]), max_size=2),
    "allow_state_change": st.sampled_from([True, False, None, 1]),
    "emit": st.sampled_from(["rows", "changes", "none", None]),
    "keyframe_s": SECONDS,
    "more": st.none(),
}
ENTRIES = st.fixed_dictionaries({"interval": st.just(2)}, optional={name: field for name, field in FIELDS.items() if name != "interval"})


@settings(max_examples=300)
@given(st.dictionaries(NAMES, SECONDS | ENTRIES | st.fixed_dictionaries({}, optional=FIELDS), max_size=2))
def test_schema_and_reader_agree(document: dict[str, Any]) -> None:
    """What one accepts, the other accepts, whatever is written where."""
    if "$schema" in document:
        document["$schema"] = "metrics.schema.json"

    assert VALIDATOR.is_valid(document) == reader_accepts(document)


CLUSTERS = json.loads(schema.text("clusters"))


def test_schema_of_clusters_agrees_with_their_reader(tmp_path: Path) -> None:
    """The schema of a cluster's file describes every key, and takes and refuses what the reader does, metrics included."""
    jsonschema.Draft202012Validator.check_schema(CLUSTERS)
    validator = jsonschema.Draft202012Validator(CLUSTERS)
    basis = clusters.Basis(Connection("localhost", 5000, "master", "sqream", "monitor"), None, None)
    (tmp_path / "password").write_text("secret", "utf-8")

    def agree(document: Any) -> bool:
        path = tmp_path / "prod.json"
        path.write_text(json.dumps(document), "utf-8")
        path.chmod(0o600)
        accepted = not clusters.read_all(tmp_path, basis)["prod"].described.problems
        assert accepted == validator.is_valid(document), document
        return accepted

    right = [
        {"host": "a"},
        {"$schema": "clusters.schema.json", "host": "a", "port": 3108, "clustered": True, "use_ssl": True, "service": "m", "user": "u"},
        {"host": "a", "password": "x", "metrics": {"show_locks": 2, "mine": {"interval": 5, "query": "select 1"}}},
        {"host": "a", "password_file": "password", "database": "d", "server_timezone": "Europe/Berlin"},
    ]
    wrong = [
        {"host": 5},
        {"host": "a", "port": 65536},
        {"host": "a", "clustered": "yes"},
        {"host": "a", "password": "x", "password_file": "password"},
        {"host": "a", "metrics": {"show_locks": 0}},
        {"host": "a", "metrics": {"show_lock": 2}},
        {"host": "a", "ports": 1},
        [],
    ]
    assert [True] * len(right) == [agree(document) for document in right]
    assert [False] * len(wrong) == [agree(document) for document in wrong]
    assert set(clusters.ClusterFile.__struct_fields__) | {"$schema"} == CLUSTERS["properties"].keys()


def test_shipped_clusters_are_right() -> None:
    """The example files of clusters are what the schema describes."""
    shipped = sorted((ROOT / "config_files" / "clusters").glob("*.json"))

    assert {"_defaults.json", "prod.json"} <= {path.name for path in shipped}
    for path in shipped:
        jsonschema.Draft202012Validator(CLUSTERS).validate(json.loads(path.read_text("utf-8")))
