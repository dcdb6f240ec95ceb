"""What the README promises is what the program does, and the other way round."""

from __future__ import annotations

import argparse
import ast
import json
import re
from pathlib import Path
from typing import Iterator

import pytest

from sqmon.cli import main
from sqmon.config import catalogue, metrics_file, options
from tests.support import ROOT
from tests.support.program import ended

README = (ROOT / "README.md").read_text("utf-8")
METADATA = ("ts", "seq", "metric", "run_id", "poll", "poll_rows")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z_]+")
# Of other programs, and the two that stand for any option.
FOREIGN = {"--a_b", "--a"}


def tables(*headings: str) -> Iterator[list[str]]:
    """Yield the cells of each row of every table with these headings."""
    for table in re.findall(r"(?:^\|.*\n)+", README, re.MULTILINE):
        rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()]
        rows = [[cell.strip("| ") for cell in row] for row in rows]
        if rows[0] == [*headings]:
            yield from rows[2:]


def names_in(cell: str) -> list[str]:
    """Return what stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def commands_in_readme() -> set[str]:
    """Return the words after `sqmon` in the table of commands."""
    return {name.split()[1] for row in tables("command", "does") for name in names_in(row[0]) if name.startswith("sqmon ")}


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the long options of a command."""
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")}


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command."""
    return main.parser_of(name, main.load(name))


def test_every_command_is_in_the_readme() -> None:
    """And every command of the README exists."""
    assert set(main.COMMANDS) == commands_in_readme()


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_flag_is_in_the_readme(name: str) -> None:
    """What a command's help shows can be looked up."""
    assert flags_of(parser_of(name)) - set(FLAG.findall(README)) == set()


def test_every_flag_of_the_readme_exists() -> None:
    """Whoever types what stands there gets no usage error."""
    known = set.union(*(flags_of(parser_of(name)) for name in main.COMMANDS))

    assert set(FLAG.findall(README)) - known - FOREIGN == set()


@pytest.mark.parametrize("name", main.COMMANDS)
def test_help_is_what_the_parser_knows(name: str, tmp_path: Path) -> None:
    """The real program prints every one of its flags, explained, on stdout, and exits with 0."""
    end = ended(name, "--help", cwd=tmp_path, COLUMNS="200", NO_COLOR="1")

    assert (end.code, end.stderr) == (0, "")
    assert flags_of(parser_of(name)) <= set(FLAG.findall(end.stdout))
    assert all(action.help for action in parser_of(name)._actions)


def test_help_lists_the_commands(tmp_path: Path) -> None:
    """`sqmon --help` says what else there is."""
    shown = ended("--help", cwd=tmp_path).stdout

    assert [name for name in main.COMMANDS if not re.search(rf"^  {name} +\w", shown, re.MULTILINE)] == []


def test_table_of_options_agrees() -> None:
    """Every option of `run` has one row, with its default."""
    rows = {name: row for row in tables("option", "default", "meaning") for name in names_in(row[0])}
    known = {f"--{option.name}": option for group in options.GROUPS.values() for option in group}

    assert set(known) | {"--username", "-h", "--help", "--version"} <= set(rows)
    for name, option in known.items():
        default = rows[name][1]
        if option.convert is None:
            assert (name, default) == (name, "off")
        elif option.default in (None, ""):
            assert not re.fullmatch(r"`[^`]*`", default), f"{name} has no default"
        else:
            said = f"{option.default:g}" if isinstance(option.default, float) else str(option.default)
            assert (name, f"`{said}`") == (name, default)


def test_table_of_the_simulators_options_agrees() -> None:
    """Every option of `simulate` has one row, with its default."""
    rows = {name: row for row in tables("option of `simulate`", "default", "meaning") for name in names_in(row[0])}
    actions = {action.option_strings[0]: action for action in parser_of("simulate")._actions if action.dest != "help"}

    assert set(rows) == set(actions)
    for name, action in actions.items():
        if action.default not in (None, False):
            assert rows[name][1] == f"`{action.default}`"
        elif action.nargs == 0:
            assert rows[name][1] == "off"


def test_polled_metrics_agree_with_the_catalogue() -> None:
    """The five in order, with how often, what and which rights."""
    rows = [[names_in(row[0])[0], *row[1:]] for row in tables("metric", "every", "shows", "rights")]
    known = [catalogue.FUNCTIONS[name] for name in catalogue.DEFAULT_METRICS]

    assert rows == [[function.name, f"{function.interval:g} s", function.summary, function.rights] for function in known]


def test_further_metrics_agree_with_the_catalogue() -> None:
    """All that can be polled by name, and those that need a query."""
    rows = [[names_in(row[0])[0], *row[1:]] for row in tables("metric", "shows", "rights")]
    others = [function for function in catalogue.FUNCTIONS.values() if function.name not in catalogue.DEFAULT_METRICS]
    (needy,) = re.findall(r"^(.*) need arguments, so they need a `query`", README, re.MULTILINE)

    assert rows == [[function.name, function.summary, function.rights] for function in others if not function.arguments]
    assert sorted(names_in(needy)) == sorted(function.name for function in others if function.arguments)


def test_computed_columns_agree_with_the_catalogue() -> None:
    """Each is described under its metric."""
    described: dict[str, list[str]] = {}
    metric = ""
    for name, column, _ in tables("metric", "column", "says"):
        metric = names_in(name)[0] if name else metric
        described.setdefault(metric, []).append(names_in(column)[0])

    assert described == {function.name: [*function.computed] for function in catalogue.FUNCTIONS.values() if function.computed}


def json_blocks() -> list[str]:
    """Return the JSON examples."""
    blocks: list[str] = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return blocks


def test_example_of_a_metrics_file_can_be_used() -> None:
    """It is accepted as it stands, with everything that the text explains."""
    (example,) = [block for block in json_blocks() if "interval" in block]
    metrics = metrics_file.parse(example.encode(), "README.md")

    assert [metric.name for metric in metrics] == ["show_locks", "show_cluster_nodes", "chunks_size", "reset_leveldb_stats"]
    assert [metric.is_command for metric in metrics] == [False, False, False, True]


def test_example_of_a_record_has_the_order_of_the_contract() -> None:
    """Metadata, the function's columns in server order, and the computed ones, each once."""
    (example,) = [block for block in json_blocks() if '"seq"' in block]
    pairs: list[tuple[str, object]] = json.loads(example, object_pairs_hook=lambda found: found)
    function = catalogue.FUNCTIONS[str(dict(pairs)["metric"])]

    assert [name for name, _ in pairs] == [*METADATA, *function.columns, *function.computed]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", str(dict(pairs)["ts"]))


def test_every_event_is_described() -> None:
    """The words that the code writes into the `sqmon` stream are those of the README's table."""
    described = {name for row in tables("event", "says") for name in names_in(row[0])}
    written = {
        ast.literal_eval(node.args[1])
        for path in (ROOT / "sqmon").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "write"
        if [type(getattr(argument, "value", None)) for argument in node.args[:2]] == [str, str]
    }

    assert written - described == set()
    assert {"start", "stop", "check", "poll", "worker_start", "worker_exit", "gap", "segment_sealed"} <= described


def test_changelog_has_a_place_for_the_next_change() -> None:
    """Keep a Changelog's form, the unreleased first."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)

    assert headings[0] == "[Unreleased]"
    assert [heading for heading in headings[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)] == []


def test_files_that_the_readme_names_exist() -> None:
    """Paths of the repository that it sends people to."""
    named = set(re.findall(r"`?\b((?:config_files|alloy|tests|benchmarks)/[\w./-]*)", README))

    assert [path for path in named if not (ROOT / path).exists()] == []
