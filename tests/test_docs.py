"""What the documentation promises is what the program does, and the other way round."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Iterator

import msgspec
import pytest
from prometheus_client.metrics import MetricWrapperBase

from sqmon.cli import agent_config, main
from sqmon.config import catalogue, metrics_file, options
from sqmon.health.prometheus import PrometheusExporter
from sqmon.records.sql_columns import HASH
from sqmon.records.sql_text import statement_hash
from sqmon.simulator import Simulator, faults
from sqmon.storage.writer import Sealed
from sqmon.top.frame import KEYS, LIVE, frame, scene_of
from sqmon.top.lines import HEADING, TITLE
from sqmon.top.state import State
from sqmon.top.views import VIEWS
from tests.lifetimes.site import lock
from tests.support import ROOT
from tests.support.program import ended
from tests.support.segment_files import METADATA
from tests.test_layers import DIRECTION
from tests.top.moments import moment

README = (ROOT / "README.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")
DEVELOPMENT = (ROOT / "docs" / "development.md").read_text("utf-8")
SIMULATOR = (ROOT / "docs" / "simulator.md").read_text("utf-8")
PAGES = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")))}
LINKED = {**PAGES, "alloy/README.md": (ROOT / "alloy" / "README.md").read_text("utf-8")}
GUIDES = "\n".join(text for name, text in PAGES.items() if name != "CHANGELOG.md")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z_]+")
# Of other programs, and the two that stand for any option.
FOREIGN = {"--a_b", "--a", "--upgrade", "--ignore", "--create", "--no", "--volume", "--find", "--read", "--zstd"}


def tables(page: str, *headings: str) -> Iterator[list[str]]:
    """Yield the cells of each row of every table of the page with these headings."""
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip()[1:-1])] for row in table.splitlines()]
        if rows[0] == [*headings]:
            yield from rows[2:]


def names_in(cell: str) -> list[str]:
    """Return the texts in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def documented_commands() -> set[str]:
    """Return the words after `sqmon` in the table of commands."""
    return {name.split()[1] for row in tables(REFERENCE, "command", "does") for name in names_in(row[0]) if name.startswith("sqmon ")}


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the long options of a command."""
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")}


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command."""
    return main.parser_of(name, main.load(name))


def test_every_command_is_documented() -> None:
    """The table of commands holds every command, and no other."""
    assert set(main.COMMANDS) == documented_commands()


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_flag_is_documented(name: str) -> None:
    """Every flag that a command's help shows can be looked up in the documentation."""
    assert flags_of(parser_of(name)) - set(FLAG.findall(GUIDES)) == set()


def test_every_documented_flag_exists() -> None:
    """No page names a flag that every command would refuse."""
    known = set.union(*(flags_of(parser_of(name)) for name in main.COMMANDS))

    assert set(FLAG.findall(GUIDES)) - known - FOREIGN == set()


@pytest.mark.parametrize("name", main.COMMANDS)
def test_help_is_what_the_parser_knows(name: str, tmp_path: Path) -> None:
    """The real program prints every one of its flags, explained, on stdout, and exits with 0."""
    end = ended(name, "--help", cwd=tmp_path, COLUMNS="200", NO_COLOR="1")

    assert (end.code, end.stderr) == (0, "")
    assert flags_of(parser_of(name)) <= set(FLAG.findall(end.stdout))
    assert all(action.help for action in parser_of(name)._actions)


def test_help_lists_the_commands(tmp_path: Path) -> None:
    """`sqmon --help` lists every command."""
    shown = ended("--help", cwd=tmp_path).stdout

    assert [name for name in main.COMMANDS if not re.search(rf"^  {name} +\w", shown, re.MULTILINE)] == []


def test_table_of_options_agrees() -> None:
    """Every option of `run` has one row, with its default."""
    rows = {name: row for row in tables(REFERENCE, "option", "default", "meaning") for name in names_in(row[0])}
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
    rows = {name: row for row in tables(SIMULATOR, "option of `simulate`", "default", "meaning") for name in names_in(row[0])}
    actions = {action.option_strings[0]: action for action in parser_of("simulate")._actions if action.dest != "help"}

    assert set(rows) == set(actions)
    for name, action in actions.items():
        if action.default not in (None, False):
            assert rows[name][1] == f"`{action.default}`"
        elif action.nargs == 0:
            assert rows[name][1] == "off"


def test_control_commands_of_the_simulator_agree() -> None:
    """The tables hold every command of the control port and every key of a fault, each with all its values."""
    commands = {
        key for row in tables(SIMULATOR, "command", "does") for text in names_in(row[0]) for key in json.loads(text.replace("...", ""))
    }
    keys = {names_in(name)[0]: set(names_in(text)) for name, text in tables(SIMULATOR, "key", "is")}

    assert commands == set(Simulator()._engine.commands)
    assert set(keys) == {field.name for field in dataclasses.fields(faults.Fault)}
    assert set(faults.STEPS) == keys["step"]
    assert set(faults.ACTIONS) == keys["action"] - {"connect"}


def test_polled_metrics_agree_with_the_catalogue() -> None:
    """The table holds the five default metrics in their order, with interval, summary and rights."""
    rows = [[names_in(row[0])[0], *row[1:]] for row in tables(REFERENCE, "metric", "every", "shows", "rights")]
    known = [catalogue.FUNCTIONS[name] for name in catalogue.DEFAULT_METRICS]

    assert rows == [[function.name, f"{function.interval:g} s", function.summary, function.rights] for function in known]


def test_further_metrics_agree_with_the_catalogue() -> None:
    """The tables hold every other function that can be polled by name, and the sentence below those that need a query."""
    rows = [[names_in(row[0])[0], *row[1:]] for row in tables(REFERENCE, "metric", "shows", "rights")]
    others = [function for function in catalogue.FUNCTIONS.values() if function.name not in catalogue.DEFAULT_METRICS]
    (needy,) = re.findall(r"^(.*) need arguments, so they need a `query`", REFERENCE, re.MULTILINE)

    assert rows == [[function.name, function.summary, function.rights] for function in others if not function.arguments]
    assert sorted(names_in(needy)) == sorted(function.name for function in others if function.arguments)


def test_computed_columns_agree_with_the_catalogue() -> None:
    """Each computed column is described under its metric."""
    described: dict[str, list[str]] = {}
    metric = ""
    for name, column, _ in tables(REFERENCE, "metric", "column", "says"):
        metric = names_in(name)[0] if name else metric
        described.setdefault(metric, []).append(names_in(column)[0])

    assert described == {function.name: [*function.computed] for function in catalogue.FUNCTIONS.values() if function.computed}


def json_blocks() -> list[str]:
    """Return the JSON examples of all pages."""
    blocks: list[str] = re.findall(r"^```json\n(.*?)^```", GUIDES, re.MULTILINE | re.DOTALL)
    return blocks


def test_keys_of_the_metrics_file_agree() -> None:
    """The table holds every key that an entry may have, and no other."""
    described = {names_in(name)[0] for name, _ in tables(REFERENCE, "key", "means")}

    assert {field.name for field in msgspec.structs.fields(metrics_file.Entry)} == described


def test_metadata_of_records_agree() -> None:
    """The table holds the metadata of a record in its order."""
    assert [*METADATA] == [names_in(name)[0] for name, _ in tables(REFERENCE, "key", "is")]


def test_every_agent_is_named() -> None:
    """The reference names everything that `agent-config` prints."""
    (row,) = [row for row in tables(REFERENCE, "command", "does") if "agent-config" in row[0]]

    assert set(agent_config.SHIPPED) == set(names_in(row[1]))


def test_example_of_a_metrics_file_can_be_used() -> None:
    """The example is accepted as it is."""
    (example,) = [block for block in json_blocks() if "interval" in block]
    metrics = metrics_file.parse(example.encode(), "docs/reference.md")

    assert [metric.name for metric in metrics] == ["show_locks", "show_cluster_nodes", "chunks_size", "reset_leveldb_stats"]
    assert [metric.is_command for metric in metrics] == [False, False, False, True]


def test_example_of_a_record_has_the_order_of_the_contract() -> None:
    """The example has the metadata, the server's columns in their order, the computed columns and the statement's hash, each once."""
    (example,) = [block for block in json_blocks() if '"seq"' in block]
    pairs: list[tuple[str, object]] = json.loads(example, object_pairs_hook=lambda found: found)
    function = catalogue.FUNCTIONS[str(dict(pairs)["metric"])]

    assert [name for name, _ in pairs] == [*METADATA, *function.columns, *function.computed, HASH]
    assert dict(pairs)[HASH] == statement_hash(str(dict(pairs)["statement_string"]))
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", str(dict(pairs)["ts"]))


def written_events() -> dict[str, set[str]]:
    """Return the events that the code writes, each with the fields that the calls of `write` name."""
    written: dict[str, set[str]] = {}
    for path in (ROOT / "sqmon").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("write", "_append")):
                continue
            event = getattr(node.args[1], "value", None) if len(node.args) > 1 else None
            if isinstance(event, str):
                written.setdefault(event, set()).update(keyword.arg for keyword in node.keywords if keyword.arg)
    return written


def test_every_event_is_described() -> None:
    """The table of events holds every event that the code writes, and no other, with its fields."""
    described = {names_in(name)[0]: set(names_in(fields)) for name, _, fields in tables(REFERENCE, "event", "says", "fields")}
    written = written_events()

    assert set(written) == set(described)
    assert [
        f"{event}: {field}" for event, fields in written.items() for field in fields - described[event] - {"target", "target_run_id"}
    ] == []
    assert set(Sealed._fields) <= described["segment_sealed"]


def test_prometheus_metrics_agree() -> None:
    """The table holds every metric that can be scraped, with its labels, apart from those of the process itself."""
    exporter = PrometheusExporter("127.0.0.1", 0)
    exporter.close()
    counters = [metric for metric in vars(exporter).values() if isinstance(metric, MetricWrapperBase)]
    known = {
        family.name + ("_total" if family.type == "counter" else ""): [*metric._labelnames]
        for metric in counters
        for family in metric.describe()
    }
    known |= {family.name: [*family._labelnames] for family in exporter.gauges.collect()}
    described = {names_in(name)[0]: names_in(labels) for name, labels, _ in tables(REFERENCE, "metric", "labels", "is")}

    assert known == described


def test_changelog_has_a_place_for_the_next_change() -> None:
    """The changelog has the form of Keep a Changelog, with Unreleased first."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)

    assert headings[0] == "[Unreleased]"
    assert [heading for heading in headings[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)] == []


def test_files_that_the_pages_name_exist() -> None:
    """Every path of the repository that the pages send people to is there."""
    ours = re.sub(r"^The facts about the others .*$", "", GUIDES, flags=re.MULTILINE)
    named = set(re.findall(r"(?<![\w/.>-])((?:config_files|alloy|tests|benchmarks|docs|sqmon|\.ci)/[\w./@-]*\w/?)", ours))

    assert [path for path in sorted(named - {"sqmon/sqmon-20261124T153050.001002Z-000001.jsonl"}) if not (ROOT / path).exists()] == []


def test_every_promise_is_shown_by_a_test() -> None:
    """Each promise names tests, and each of them exists."""
    rows = [*tables(DEVELOPMENT, "promise", "shown by")]
    named = [name for _, shown in rows for name in names_in(shown)]
    there = {}
    for name in named:
        path = name.partition("::")[0]
        there[path] = {node.name for node in ast.parse((ROOT / path).read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}

    assert rows
    assert [promise for promise, shown in rows if not names_in(shown)] == []
    assert [name for name in named if name.partition("::")[2] not in there[name.partition("::")[0]]] == []


def anchors(page: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", LINKED)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link leads to a file of the repository, and its anchor to a heading there."""
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", LINKED[name], flags=re.MULTILINE | re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        if not file.exists() or (anchor and anchor not in anchors(file.read_text("utf-8"))):
            dead.append(target)

    assert dead == []


def commands_to_type() -> Iterator[tuple[str, list[str]]]:
    """Yield each command line of sqmon in the pages' console examples, as its command and the words after it."""
    for block in re.findall(r"^ *```console\n(.*?)^ *```", "\n".join(LINKED.values()), re.MULTILINE | re.DOTALL):
        for line in re.findall(r"^ *[$#] (?:\S*/)?sqmon(?: +(.*))?$", block, re.MULTILINE):
            words = shlex.split(line.partition(" > ")[0])
            yield (words.pop(0) if words and not words[0].startswith("-") else "run"), words


def test_commands_of_the_pages_can_be_typed() -> None:
    """Every command line of sqmon in an example is one that the program accepts."""
    typed = list(commands_to_type())

    assert {"run", "check", "once", "status", "simulate", "agent-config"} <= {name for name, _ in typed}
    for name, words in typed:
        parser_of(name).parse_args(options.spell(words))


def test_messages_to_look_up_are_those_that_are_shown() -> None:
    """Every message of the troubleshooting tables is said by the program, or by the server as the simulator knows it."""
    said = "\n".join(
        node.value
        for path in (ROOT / "sqmon").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    named = [message for row in tables(OPERATIONS, "message", "what to do") for message in names_in(row[0])]

    assert named
    assert [message for message in named if message not in said] == []


def test_targets_agree_with_the_makefile() -> None:
    """The table of targets holds every target that people are to use, and no other."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    described = {names_in(row[0])[0].removeprefix("make ") for row in tables(DEVELOPMENT, "target", "does")}

    assert set(phony.split()) - {"lint", "types"} == described


def test_wings_agree_with_their_direction() -> None:
    """The picture of the wings shows the lines of tests/test_layers.py, in their order."""
    drawn = re.findall(r"^((?:[a-z_]+(?:  ?|$))+)", DEVELOPMENT.split("## The wings")[1].split("```")[1], re.MULTILINE)
    lines = [line.split() for line in DIRECTION.split("\n") if line and line != "__main__"]

    assert [line.split() for line in drawn] == [*lines, ["simulator"]]


def test_every_page_can_be_found() -> None:
    """The README, which is short enough to be read, links to every page of docs/."""
    pages = {name for name in PAGES if name.startswith("docs/")}

    assert pages - set(re.findall(r"\]\(([^)#]+)", README)) == set()
    assert len(README.splitlines()) <= 150


def test_picture_shows_the_live_view() -> None:
    """The picture is an SVG that loads nothing, with the views and the columns of the tree of locks as they are today."""
    svg = (ROOT / "docs" / "live.svg").read_text("utf-8")
    scene = scene_of(moment(locks=[lock(7)]))
    lines, _ = frame(scene, State(view=[view.name for view in VIEWS].index("locks")), 120, 24, mode=LIVE)
    words = {word for line in lines for span in line.spans if span.style in (HEADING, TITLE) for word in re.findall(r"[a-z]+", span.text)}

    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert {"locks", "statement", "object"} <= words
    assert [word for word in sorted(words) if word not in svg.replace("&#160;", " ")] == []
    assert "└" in svg
    assert re.findall(r"@font-face|@import|url\((?!#)|href", svg) == []


def test_keys_and_views_of_top_agree() -> None:
    """The tables hold every view in its order, and every key of the footer."""
    views = [names_in(row[0])[0] for row in tables(REFERENCE, "view", "shows")]
    keys = " ".join(row[0] for row in tables(REFERENCE, "key", "does"))

    assert [view.name for view in VIEWS] == views
    assert [key for key, _, _ in KEYS if key not in keys and key not in ("↑↓", "< >")] == []
