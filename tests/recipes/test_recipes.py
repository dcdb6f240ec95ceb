"""The examples of docs/recipes.md, run as they stand there by the real programs on the files of a real run."""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Callable, NamedTuple

import duckdb
import pytest

from sqmon.simulator import Simulator
from sqmon.storage.compression import compress
from sqmon.storage.reader import opened, segments
from tests.storage.test_archive import source
from tests.support import ROOT
from tests.support.program import environment, service, wait_until

PAGE = (ROOT / "docs" / "recipes.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"^(\S[^\n]*):\n\n```(?:sql|console)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
"""The examples by the sentence before each."""

PLACES = {"table": "$t$", "time": "2026-11-24 03:12:00", "zone": "Europe/Berlin"}
"""What is particular to the page."""

METRICS = {"show_locks": 0.2, "show_server_status": 0.2, "get_license_info": 0.5, "show_cluster_nodes": 0.5, "get_leveldb_stats": 0.5}
FORMATS = ROOT / "packages" / "lnav" / "formats" / "sqmon"
Row = dict[str, Any]


def lines_of(path: Path) -> list[str]:
    """Return the whole lines of a segment."""
    return path.read_text("utf-8").rpartition("\n")[0].splitlines()


class Site(NamedTuple):
    """The files of a run, and every record in them by its stream."""

    log_dir: Path
    records: dict[str, list[Row]]

    def example(self, title: str, **places: str) -> str:
        """Return the example with the directory, and what else is particular to the run, in the places of the page's."""
        text: str = BLOCKS[title].replace("/var/log/sqmon", str(self.log_dir))
        for name, value in places.items():
            assert PLACES[name] in text
            text = text.replace(PLACES[name], value)
        return text

    def polls(self, **fields: str) -> list[Row]:
        """Return the events of polls with these fields."""
        found = [event for event in self.records["sqmon"] if event["event"] == "poll"]
        return [event for event in found if all(event[name] == value for name, value in fields.items())]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Let the service watch a contended cluster until locks have come and gone, with a failed poll, and archive its oldest locks."""
    log_dir = tmp_path_factory.mktemp("site") / "logs"
    with (
        Simulator(contention=0.5) as simulator,
        service(simulator.port, log_dir, "--segment_mb", "0.01", "--compress", "never", "--cluster", "prod", metrics=METRICS) as run,
    ):
        simulator.set_fault("get_license_info", step="fetch", action="close", times=1)
        wait_until(lambda: len([None for path in run.segments("lifetimes") for line in lines_of(path) if '"lock_released"' in line]) >= 3)
        wait_until(lambda: len(run.segments("show_locks")) >= 3)
        assert run.end() == 0
    oldest = segments(log_dir, "show_locks")[0]
    compress(log_dir, source(log_dir, oldest), lambda: None)
    records: dict[str, list[Row]] = {}
    for stream in (*METRICS, "sqmon", "lifetimes"):
        for path in segments(log_dir, stream):
            with opened(path) as file:
                records.setdefault(stream, []).extend(map(json.loads, file))
    return Site(log_dir, records)


def shell(example: str, place: Path) -> str:
    """Run the command line of an example, and return what it printed."""
    (command,) = re.findall(r"^\$ (.*)$", example, re.MULTILINE)
    words = ["bash", "-euo", "pipefail", "-c", command]
    end = subprocess.run(words, cwd=place, env=environment(HOME=str(place), TZ="UTC"), capture_output=True, text=True, check=False)
    assert (end.returncode, end.stderr) == (0, ""), end.stderr
    return end.stdout


def needs(*programs: str) -> Callable[[Any], Any]:
    """Skip a test where a program is missing, and say which."""
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


def by_tabs(text: str) -> list[list[str]]:
    """Return the fields of each line."""
    return [line.split("\t") for line in text.splitlines()]


@needs("jq")
def test_jq_tells_what_went_wrong(site: Site) -> None:
    """The lines are the events that are not mere information."""
    said = by_tabs(shell(site.example("What went wrong"), site.log_dir))
    expected = [event for event in site.records["sqmon"] if event["level"] != "info"]

    assert [line[:3] for line in said] == [[event["ts"], event["level"], event["event"]] for event in expected]
    assert "worker_exit" in {line[2] for line in said}


@needs("jq")
def test_jq_tells_who_holds_what(site: Site) -> None:
    """The lines are the records of the newest poll that has any."""
    said = by_tabs(shell(site.example("Who holds which lock, by the newest poll that saw any"), site.log_dir))
    locks = site.records["show_locks"]
    newest = [lock for lock in locks if lock["poll"] == locks[-1]["poll"]]

    assert said == [[lock["statement_id"], lock["username"], lock["locked_object"], str(lock["lock_age_s"])] for lock in newest]


@needs("jq")
def test_jq_counts_polls(site: Site) -> None:
    """The numbers are those of the events."""
    said = by_tabs(shell(site.example("How many polls of each metric ended how"), site.log_dir))
    expected = Counter((event["target"], event["status"]) for event in site.polls())

    assert {(target, status): int(number) for target, status, number in said} == expected


@needs("jq", "zstd")
def test_jq_reads_archives(site: Site) -> None:
    """The statements are those of the archived segment."""
    said = shell(site.example("Which statements held locks in archived segments"), site.log_dir).split()
    with opened(segments(site.log_dir, "show_locks")[0]) as file:
        expected = {json.loads(line)["statement_id"] for line in file}

    assert said == sorted(expected, key=int)


def test_duckdb_tells_who_held_a_table(site: Site) -> None:
    """At any time, in segments as in archives, the holders are those of the last good poll before; after an empty poll, nobody."""
    locks = site.records["show_locks"]
    tables = Counter(match[1] for lock in locks if (match := re.search(r"table\$\w+\$\w+\$(\w+)\$", lock["locked_object"])))
    ((table, _),) = tables.most_common(1)
    good = sorted(
        (event for event in site.polls(target="show_locks") if event["status"] in ("ok", "empty")), key=lambda event: event["began"]
    )
    held = 0
    for event in (good[2], good[len(good) // 2], good[-1]):
        moment = dt.datetime.fromisoformat(event["began"][:26]) + dt.timedelta(milliseconds=1)
        with duckdb.connect() as connection:
            places = {"table": f"${table}$", "time": str(moment), "zone": "UTC"}
            found = connection.execute(site.example("Who held the table `t` at 03:12, by the last good poll before", **places)).fetchall()
        rows = [lock for lock in locks if (lock["run_id"], lock["poll"]) == (event["target_run_id"], event["poll"])]
        expected = {lock["statement_id"] for lock in rows if f"${table}$" in lock["locked_object"]}
        held += len(expected)

        assert {str(row[0]) for row in found} == expected
    assert held


def test_duckdb_tells_the_commonest_statements(site: Site) -> None:
    """The numbers of runs are those of the records."""
    with duckdb.connect() as connection:
        found = connection.execute(site.example("Which statements ran most often, whatever their literals")).fetchall()
    ran = {(record["statement_hash"], record["statementid"]) for record in site.records["show_server_status"] if not record["is_self"]}
    runs = Counter(statement_hash for statement_hash, _ in ran)

    assert [(row[0], row[1]) for row in found] == sorted(runs.items(), key=lambda item: (-item[1], item[0]))[:10]


def test_duckdb_tells_what_was_locked_longest(site: Site) -> None:
    """The objects and their longest locks are those of the lifetimes."""
    with duckdb.connect() as connection:
        found = connection.execute(site.example("Which objects were locked longest")).fetchall()
    longest: dict[str, float] = {}
    for event in site.records["lifetimes"]:
        if event["event"] == "lock_released":
            longest[event["locked_object"]] = max(longest.get(event["locked_object"], 0), event["held_max_s"] or 0)

    assert {row[0]: row[2] or 0 for row in found} == longest
    assert [row[2] for row in found if row[2]] == sorted((value for value in longest.values() if value), reverse=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory with the formats where the page copies them to."""
    place = tmp_path_factory.mktemp("home")
    shutil.copytree(FORMATS, place / ".config" / "lnav" / "formats" / "sqmon")
    return place


def asked(example: str, home: Path) -> list[list[str]]:
    """Return the rows that lnav gives as an answer, without the names of the columns."""
    return list(csv.reader(shell(example, home).splitlines()))[1:]


@needs("lnav")
def test_lnav_has_a_table_for_each_metric(site: Site, home: Path) -> None:
    """An example in SQL gives what the records say."""
    title = "Each default metric is an SQL table, such as `sqmon_show_locks`; so are `sqmon_lifetimes` and `sqmon_events`, and the view"
    (title,) = [found for found in BLOCKS if found.startswith(title)]
    said = asked(site.example(title), home)
    plain = [json.loads(line) for path in site.log_dir.glob("show_locks/*.jsonl") for line in lines_of(path)]
    statements: dict[str, set[str]] = {}
    for lock in plain:
        statements.setdefault(lock["username"], set()).add(lock["statement_id"])

    assert [[name, int(number)] for name, number, _ in said] == [[name, len(found)] for name, found in sorted(statements.items())]


@needs("lnav")
def test_lnav_has_a_view_of_lifetimes(site: Site, home: Path) -> None:
    """The longest locks of the view are those of the lifetimes."""
    said = asked(site.example("The locks that were held longest, with their bounds in seconds"), home)
    ended = [event for event in site.records["lifetimes"] if event["event"] == "lock_released" and event["held_max_s"] is not None]
    longest = sorted((event["held_max_s"] for event in ended), reverse=True)[:5]

    assert [float(row[3]) for row in said] == pytest.approx(longest)


@needs("lnav")
def test_lnav_tells_what_the_service_warned_of(site: Site, home: Path) -> None:
    """Levels are those of the events."""
    said = asked(site.example("What the service warned of"), home)
    expected = [(event["level"], event["event"]) for event in site.records["sqmon"] if event["level"] != "info"]

    assert [(level, event) for _, level, event, *_ in said] == expected


@needs("lnav")
@pytest.mark.parametrize("stream", [*METRICS, "lifetimes", "sqmon"])
def test_lnav_knows_every_line(site: Site, home: Path, stream: str) -> None:
    """Every line of every stream belongs to the stream's own table, and every column of a metric is there with its value."""
    table = "sqmon_events" if stream == "sqmon" else f"sqmon_{stream}"
    query = f"$ lnav -n -c ';SELECT * FROM {table}' -c ':write-json-to -' {site.log_dir}/{stream}/*.jsonl"
    rows = json.loads(shell(query, home))
    plain = [json.loads(line) for path in sorted(site.log_dir.glob(f"{stream}/*.jsonl")) for line in lines_of(path)]

    assert [row["seq"] for row in sorted(rows, key=lambda row: row["seq"])] == sorted(record["seq"] for record in plain)
    if stream in METRICS:
        seen = {record["seq"]: record for record in plain}
        for row in rows:
            record = {name: int(value) if isinstance(value, bool) else value for name, value in seen[row["seq"]].items() if name != "ts"}
            assert {name: row[name] for name in record} == record


def test_every_example_is_tried() -> None:
    """Every example that can be run alone is run by one of the tests above; the one that installs the formats is its fixture."""
    text = Path(__file__).read_text("utf-8")

    assert [title for title in BLOCKS if title not in text and title[:100] not in text and "looks for formats" not in title] == []
