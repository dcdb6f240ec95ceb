"""The agents' configurations: what is printed, what ships, and what both say of labels, globs and retries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sqmon.cli.agent_config import SHIPPED, Installation, printed
from sqmon.cli.main import main
from sqmon.config import catalogue
from sqmon.config.settings import SegmentOptions
from sqmon.errors import ConfigError
from tests.support import ROOT
from tests.support.agent_model import GLOB
from tests.support.expansion import systemd
from tests.support.loki import ALLOY
from tests.support.segment_files import Stream

LABELS = {"job", "instance", "cluster", "metric", "level", "filename"}
HERE = Installation(Path("/srv/lines"), "loki.example.com", 3200, "prod-1", "host-7")


def read(name: str) -> Any:
    """Return a YAML file of `alloy/`."""
    return yaml.safe_load((ALLOY / name).read_text("utf-8"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_is_what_is_printed(name: str) -> None:
    """A shipped file is exactly what its template prints for the default installation."""
    assert printed(name, Installation(Path("/var/log/sqmon"))) == (ALLOY / SHIPPED[name]).read_text("utf-8")


@pytest.mark.parametrize("name", SHIPPED)
def test_this_installation_is_filled_in(name: str) -> None:
    """Every value of an installation is in what is printed, and no placeholder is left."""
    text = printed(name, HERE)
    expected = {"loki.example.com", "3200", "prod-1"} | (set() if name == "offline" else {"/srv/lines"})

    assert [] == re.findall(r"@[a-z_]+@", text)
    assert expected == {value for value in expected if value in text}


def test_vlagent_sends_to_the_port_of_victorialogs() -> None:
    """vlagent's unit has the port of VictoriaLogs unless another one is given, since Loki's default would be wrong."""
    assert "http://logs:9428/insert/native" in printed("vlagent", Installation(Path("/srv/lines"), "logs"))
    assert "http://logs:8000/insert/native" in printed("vlagent", Installation(Path("/srv/lines"), "logs", 8000))


@pytest.mark.parametrize("name", [name for name, file in SHIPPED.items() if file.endswith(".yaml")])
def test_yaml_parses(name: str) -> None:
    """What is printed is YAML with the values of any installation."""
    assert isinstance(yaml.safe_load(printed(name, HERE)), dict)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("log_dir", Path("/var/log/*")),
        ("log_dir", Path("/var/log/{a,b}")),
        ("log_dir", Path("/var/log/a\nb")),
        ("log_dir", Path("/var/log/$HOME")),
        ("loki_host", 'x", "y'),
        ("loki_host", ""),
        ("cluster", "a: b"),
        ("cluster", "a\\b"),
        ("instance", "#"),
    ],
)
def test_values_that_would_be_misread_are_refused(field: str, value: object) -> None:
    """A value that a configuration language would misread is refused before anything is printed."""
    with pytest.raises(ConfigError) as caught:
        printed("alloy", HERE._replace(**{field: value}))  # type: ignore[arg-type]

    assert [f"--{field}"] == [problem.partition(":")[0] for problem in caught.value.problems]


def test_command_prints_for_its_options(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command takes its options from the command line, with dashes too, and from the service's environment."""
    monkeypatch.setenv("SQMON_CLUSTER", "prod-1")

    assert main(["agent-config", "alloy", "--log-dir", "/srv/lines", "--loki_host", "loki.example.com", "--loki_port", "3200"]) == 0
    assert printed("alloy", HERE) == capsys.readouterr().out


def test_command_refuses_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal is one line on stderr, and no configuration is printed."""
    code = main(["agent-config", "alloy", "--log_dir", "/srv/*"])
    out, err = capsys.readouterr()

    assert (1, "", 1) == (code, out, err.count("\n"))
    assert "--log_dir" in err


def test_glob_matches_segments_and_nothing_else(tmp_path: Path) -> None:
    """The glob matches neither the links to segments, which would send each line twice, nor the service's other files."""
    stream = Stream(tmp_path, SegmentOptions(max_bytes=2000))
    for _ in range(5):
        stream.poll(10)
    stream.writer.close()
    (tmp_path / "status.json").write_text("{}")
    (tmp_path / ".lock").write_text("1")
    found = sorted(tmp_path.glob(GLOB))

    assert len(found) == len(stream.sealed) > 2
    assert {path.parent.name for path in found} == {"show_locks"}


def test_all_agents_read_the_same_files() -> None:
    """Every agent reads the files of the one pattern that sqmon promises."""
    alloy = re.findall(r'__path__ = string\.format\("%s([^"]+)"', (ALLOY / "config.alloy").read_text("utf-8"))
    globs = {
        "config.alloy": alloy,
        "promtail.yaml": [each["labels"]["__path__"] for each in read("promtail.yaml")["scrape_configs"][0]["static_configs"]],
        "fluent-bit.yaml": read("fluent-bit.yaml")["pipeline"]["inputs"][0]["path"].split(","),
        "vector.yaml": read("vector.yaml")["sources"]["sqmon"]["include"],
        "otel.yaml": read("otel.yaml")["receivers"]["filelog"]["include"],
        "vlagent.service": re.findall(r"-fileCollector\.glob=([^']+)", (ALLOY / "vlagent.service").read_text("utf-8")),
    }
    found = {name: [re.sub(r"^(/var/log/sqmon|\$\{.*\})", "", glob) for glob in each] for name, each in globs.items()}

    assert found == {name: [f"/{GLOB}", "/*/*/*.jsonl"] for name in globs}


def alloy_labels(name: str) -> set[str]:
    """Return the labels that an Alloy configuration gives: extracted, external, and the one of the source."""
    text = (ALLOY / name).read_text("utf-8")
    values = re.search(r"stage\.labels \{\s*values = \{([^}]*)\}", text)
    external = re.search(r"external_labels = \{(.*?)\n\t\}", text, re.DOTALL)
    assert values is not None
    assert external is not None
    return {"filename", *re.findall(r"(\w+) +=", values[1]), *re.findall(r"^\t\t(\w+) +=", external[1], re.MULTILINE)}


def test_all_agents_give_the_same_labels() -> None:
    """Every agent gives the same few labels, with few values each; everything else is in the line."""
    promtail = read("promtail.yaml")
    stages = promtail["scrape_configs"][0]["pipeline_stages"]
    fluent_bit = dict(pair.split("=") for pair in read("fluent-bit.yaml")["pipeline"]["outputs"][0]["labels"].split(", "))
    vector = read("vector.yaml")
    in_remap = set(re.findall(r'"(\w+)":|\.labels\.(\w+) =', vector["transforms"]["record"]["source"]))
    otel = read("otel.yaml")["processors"]
    given = {
        "config.alloy": alloy_labels("config.alloy"),
        "offline.alloy": alloy_labels("offline.alloy"),
        "promtail.yaml": {"filename", *promtail["clients"][0]["external_labels"], *next(s["labels"] for s in stages if "labels" in s)},
        "fluent-bit.yaml": set(fluent_bit),
        "vector.yaml": {*vector["sinks"]["loki"]["labels"], *(first or second for first, second in in_remap)} - {"*"},
        "otel.yaml": {*otel["groupbyattrs"]["keys"], *(entry["key"] for entry in otel["resource"]["attributes"])},
    }

    assert given == dict.fromkeys(given, LABELS)


def test_all_agents_take_the_cluster_from_the_line() -> None:
    """A line that names its cluster gets that label; the agent's own setting is for lines that name none."""
    alloy = (ALLOY / "config.alloy").read_text("utf-8")
    (stages,) = (job["pipeline_stages"] for job in read("promtail.yaml")["scrape_configs"])
    fluent_bit = read("fluent-bit.yaml")["pipeline"]
    otel = read("otel.yaml")
    moved = [(each.get("from"), each.get("to")) for each in otel["receivers"]["filelog"]["operators"]]

    assert re.search(r'expressions = \{[^}]*cluster = ""', alloy)
    assert re.search(r"stage\.labels \{\s*values = \{[^}]*cluster = \"\"", alloy)
    assert ["cluster"] == [stage["json"]["expressions"]["cluster"] for stage in stages if "json" in stage]
    assert ["cluster" in stage["labels"] for stage in stages if "labels" in stage] == [True]
    assert {"name": "modify", "match": "*", "add": "cluster default"} in fluent_bit["filters"]
    assert "cluster=$cluster" in fluent_bit["outputs"][0]["labels"]
    assert ".labels.cluster = record.cluster" in read("vector.yaml")["transforms"]["record"]["source"]
    assert ("attributes.record.cluster", "attributes.cluster") in moved
    assert "cluster" in otel["processors"]["groupbyattrs"]["keys"]
    assert otel["service"]["pipelines"]["logs"]["processors"] == ["resource", "groupbyattrs"]


def vlagent_flags() -> dict[str, str]:
    """Return the flags of vlagent's unit."""
    ((_, *words),) = systemd((ALLOY / "vlagent.service").read_text("utf-8"), {})
    return {name.lstrip("-"): value for name, _, value in (word.partition("=") for word in words)}


def test_vlagent_gives_the_same_labels_and_times() -> None:
    """vlagent gives each line the labels and the time of the other agents; `level` is a field, as every column is in VictoriaLogs."""
    flags = vlagent_flags()
    extra = json.loads(flags["fileCollector.extraFields"])

    assert extra == {"job": "sqmon", "cluster": "default", "instance": "localhost"}
    assert set(flags["fileCollector.streamFields"].split(",")) == LABELS - {"level"} == {*extra, "metric", flags["fileCollector.fileField"]}
    assert flags["fileCollector.timeField"] == "ts"


def test_vlagent_renames_no_column() -> None:
    """No field that vlagent fills or renames is a column of a function or a field of an event."""
    flags = vlagent_flags()
    taken = {name for function in catalogue.FUNCTIONS.values() for name in (*function.columns, *function.aliases, *function.computed)}
    taken |= {"file"}  # of segment_sealed

    assert "msg" in taken, "vlagent's default for the message"
    assert taken.isdisjoint({flags["fileCollector.msgField"], flags["fileCollector.fileField"], flags["fileCollector.hostnameField"]})


def test_vlagent_has_the_flags_that_are_set() -> None:
    """vlagent's documentation of v1.51 has every flag that is set, since it doesn't start with one that it doesn't know."""
    documented = {"defaultMsgValue", "enableTCP6", "httpListenAddr", "remoteWrite.url", "tmpDataPath"} | {
        f"fileCollector.{name}"
        for name in ("extraFields", "fileField", "glob", "hostnameField", "msgField", "refreshInterval", "streamFields", "timeField")
    }

    assert set(vlagent_flags()) == documented


def test_systemd_has_nothing_to_say(tmp_path: Path) -> None:
    """systemd accepts vlagent's unit without a word, where it is installed."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on PATH")
    unit = tmp_path / "vlagent.service"
    unit.write_text((ALLOY / "vlagent.service").read_text("utf-8").replace("/usr/local/bin/vlagent-prod", "/bin/true"), "utf-8")
    checked = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_loki_indexes_what_the_collector_sends() -> None:
    """The shipped Loki makes labels of the collector's resource attributes, which it does only for those that it names."""
    limits = read("loki/loki.yaml")["limits_config"]
    (rule,) = limits["otlp_config"]["resource_attributes"]["attributes_config"]

    assert (rule["action"], set(rule["attributes"])) == ("index_label", LABELS)


def test_no_agent_gives_up() -> None:
    """No agent drops a batch that can't be delivered: that would be a hole, and the files wait for as long as it takes."""
    assert "max_backoff_retries = 0" in (ALLOY / "config.alloy").read_text("utf-8")
    assert "max_backoff_retries = 0" in (ALLOY / "offline.alloy").read_text("utf-8")
    assert read("promtail.yaml")["clients"][0]["backoff_config"]["max_retries"] == 0
    assert read("fluent-bit.yaml")["pipeline"]["outputs"][0]["retry_limit"] == "no_limits"
    assert "request" not in read("vector.yaml")["sinks"]["loki"], "its default is to retry for ever"
    assert read("otel.yaml")["exporters"]["otlphttp"]["retry_on_failure"]["max_elapsed_time"] == 0


def test_idle_files_and_batches_cost_less_than_half_a_second() -> None:
    """Alloy's two waits, which delay a line before Loki has it, add up to less than half a second."""
    text = (ALLOY / "config.alloy").read_text("utf-8")
    waits = [int(found) for found in re.findall(r'(?:max_poll_frequency|batch_wait) += "(\d+)ms"', text)]

    assert len(waits) == 2
    assert sum(waits) < 500


def test_promtail_says_first_that_it_is_over() -> None:
    """The first line of Promtail's file says that Promtail has reached its end of life."""
    assert "2026-03-02" in (ALLOY / "promtail.yaml").read_text("utf-8").splitlines()[0]


@pytest.mark.parametrize("name", SHIPPED)
def test_no_secret_is_shipped(name: str) -> None:
    """No file holds a token: it comes from the environment or from a file."""
    for line in (ALLOY / SHIPPED[name]).read_text("utf-8").splitlines():
        if "token" in line.lower() and not line.lstrip().startswith(("//", "#")):
            assert "sys.env(" in line or "${LOKI_BEARER_TOKEN" in line, line


@pytest.mark.parametrize("name", ["config.alloy", "offline.alloy"])
def test_alloy_has_nothing_to_say(name: str, tmp_path: Path) -> None:
    """Alloy's formatter changes nothing and its validator finds nothing, where Alloy is installed."""
    alloy = shutil.which("alloy")
    if alloy is None:
        pytest.skip("no alloy on PATH")
    formatted = subprocess.run([alloy, "fmt", str(ALLOY / name)], capture_output=True, text=True, check=True, cwd=tmp_path)
    validated = subprocess.run([alloy, "validate", str(ALLOY / name)], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert formatted.stdout == (ALLOY / name).read_text("utf-8")
    assert validated.returncode == 0, validated.stderr


def test_promtail_has_nothing_to_say(tmp_path: Path) -> None:
    """Promtail accepts its configuration, where it is installed."""
    promtail = shutil.which("promtail")
    if promtail is None:
        pytest.skip("no promtail on PATH")
    words = [promtail, "-config.expand-env=true", "-check-syntax", f"-config.file={ALLOY / 'promtail.yaml'}"]
    checked = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert checked.returncode == 0, checked.stderr


def test_readme_names_tests_and_files_that_exist() -> None:
    """Every test that the page names exists, and the page names every file that ships."""
    text = (ALLOY / "README.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)`", text)

    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert [file for file in SHIPPED.values() if f"`{file}`" not in text] == []
