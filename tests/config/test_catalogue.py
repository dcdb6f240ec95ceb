"""The catalogue: what may be polled, as it is documented and as the simulator answers it."""

from __future__ import annotations

import re

import pytest

from alloy.source.generated import GROUPS
from sqmon.config import catalogue, custom_query, read_only
from sqmon.records.column_names import normalised
from sqmon.simulator import other_functions
from tests.support import ROOT

READ = [function.name for function in catalogue.FUNCTIONS.values()]
ORIGINAL = {"show_server_status": 7, "show_locks": 2, "get_leveldb_stats": 5, "show_cluster_nodes": 4, "get_license_info": 5}


def test_five_of_the_original_service() -> None:
    """The five default metrics are polled as often as the original service polled them."""
    assert {name: catalogue.FUNCTIONS[name].interval for name in catalogue.DEFAULT_METRICS} == ORIGINAL


def test_no_function_is_read_only_and_changes_something() -> None:
    """No function is both pollable and known to change the server."""
    assert set(READ) & set(read_only.STATE_CHANGING) == set()
    assert [name for name in READ if read_only.state_change(name)] == []


@pytest.mark.parametrize("name", READ)
def test_every_function_can_be_polled(name: str) -> None:
    """Every function has a valid metric name and an allowed statement."""
    function = catalogue.FUNCTIONS[name]
    call = read_only.call(name) if not function.arguments else f"select {name}({function.arguments});"

    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert custom_query.problem(call) == ""
    assert function.interval > 0
    assert all((function.summary, function.rights))


@pytest.mark.parametrize("name", READ)
def test_columns_are_keys_of_records(name: str) -> None:
    """Columns, aliases and computed columns have the form of a record's keys, and each occurs once."""
    function = catalogue.FUNCTIONS[name]
    names = (*function.columns, *function.computed)

    assert names == normalised(names, ())
    assert tuple(function.aliases) == normalised(tuple(function.aliases), ())
    assert set(function.aliases.values()) <= set(function.columns)
    assert set(function.aliases) & set(function.columns) == set()


def test_simulator_knows_every_function_whose_columns_are_documented() -> None:
    """The simulator answers every function whose columns are documented."""
    assert [name for name in READ if catalogue.FUNCTIONS[name].columns and name not in other_functions.FUNCTIONS] == []


@pytest.mark.parametrize(
    ("name", "generation"),
    [(name, generation) for name in READ if catalogue.FUNCTIONS[name].columns for generation in other_functions.FUNCTIONS[name].columns],
)
def test_simulator_answers_with_these_columns(name: str, generation: str) -> None:
    """The simulator sends the columns in order: the newest generation all of them, older ones those they have, under their names."""
    function = catalogue.FUNCTIONS[name]
    sent = normalised([column.name for column in other_functions.FUNCTIONS[name].columns[generation]], ())
    known = [function.aliases.get(column, column) for column in sent]

    assert known == [column for column in function.columns if column in known]
    assert generation not in ("4.7", "4.10") or known == [*function.columns]


def used_by_alerts() -> dict[str, set[str]]:
    """Return the keys of records that the alerts read, by metric."""
    used: dict[str, set[str]] = {}
    for alert in (alert for alerts in GROUPS.values() for alert in alerts):
        for metric, named in re.findall(r'metric="(\w+)"[^}]*\} \| json ((?:\w+="\w+"(?:, )?)+)', alert.expr):
            used.setdefault(metric, set()).update(re.findall(r'="(\w+)"', named))
    return used


def used_by_lifetimes(name: str) -> set[str]:
    """Return the words that the modules of lifetimes name, where the metric has lifetimes: other alerts ask those."""
    modules = {"show_locks": "locks", "show_server_status": "statements", "show_cluster_nodes": "nodes"}
    if name not in modules:
        return set()
    return set(re.findall(r'"(\w+)"', (ROOT / "sqmon" / "lifetimes" / f"{modules[name]}.py").read_text("utf-8")))


@pytest.mark.parametrize("name", READ)
def test_needed_columns_are_those_of_the_alerts(name: str) -> None:
    """The needed columns are those that alerts or lifetimes read, and the sources of computed columns that an alert reads."""
    function = catalogue.FUNCTIONS[name]
    used = used_by_alerts().get(name, set())
    read = {column for column in function.columns if column in used}

    assert read <= set(function.needed) <= set(function.columns)
    assert set(function.needed) <= read | used_by_lifetimes(name) or used & set(function.computed)


def test_missing_columns_are_known_under_every_name() -> None:
    """No column is missing in a metric that no alert reads, or where the columns have other known names."""
    aliases = {new: old for old, new in catalogue.FUNCTIONS["show_server_status"].aliases.items()}
    needed = catalogue.FUNCTIONS["show_server_status"].needed

    assert catalogue.missing("show_server_status", [aliases.get(name, name) for name in needed]) == []
    assert catalogue.missing("show_server_status", needed[:-1]) == [needed[-1]]
    assert catalogue.missing("my_own", []) == []


def test_nearest_name() -> None:
    """A typing error is recognised, and nonsense is not."""
    assert [catalogue.nearest(name) for name in ("show_lock", "shwo_locks", "get_licence_info", "Zzz")] == [
        "show_locks",
        "show_locks",
        "get_license_info",
        None,
    ]
