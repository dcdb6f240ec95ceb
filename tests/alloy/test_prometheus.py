"""The alert rules and the dashboard for Prometheus: what they ask for is there, and the rules fire when they must."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping, NamedTuple

import pytest
import yaml

from alloy.source.generated import prometheus_rules
from sqmon.config import thresholds
from sqmon.health.prometheus import PrometheusExporter
from tests.alloy.test_rules import AT_CLUSTER
from tests.support import ROOT

PROMETHEUS = ROOT / "alloy" / "prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text("utf-8"))["groups"][0]["rules"]
BOARD: dict[str, Any] = json.loads((PROMETHEUS / "dashboard.json").read_text("utf-8"))
QUERIES = {panel["title"]: target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())}
PLACE = 'job="sqmon", cluster="prod", instance="a:9188"'
LOCKS = f'{PLACE}, target="show_locks"'
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")


class Case(NamedTuple):
    """Series by their value each minute for 20 minutes, and the alerts that fire at the end: label `target` -> value."""

    alert: str
    series: Mapping[str, str]
    fires: bool
    target: str = "show_locks"
    value: str = ""
    """The number in the description, as people read it."""


CASES = [
    Case("SqmonSilent", {f"up{{{PLACE}}}": "1x12 0x8"}, fires=True, target=""),
    Case("SqmonSilent", {f"up{{{PLACE}}}": "1x17 0x3"}, fires=False),
    Case(
        "SqmonMetricFailing", {f'sqmon_polls_total{{{LOCKS}, status="error"}}': f"0x15 0+{thresholds.FAILURES}x5"}, fires=True, value="12"
    ),
    Case("SqmonMetricFailing", {f'sqmon_polls_total{{{LOCKS}, status="timeout"}}': "0x16 2x4"}, fires=False),
    Case("SqmonMetricFailing", {f'sqmon_polls_total{{{LOCKS}, status="ok"}}': "0+30x20"}, fires=False),
    Case("SqmonMetricFailing", {f'sqmon_polls_total{{{LOCKS}, status="skipped"}}': "0+30x20"}, fires=False),
    Case(
        "SqmonMetricFailing",
        {
            f'sqmon_polls_total{{{LOCKS}, status="error"}}': "0x16 2x4",
            f'sqmon_worker_exits_total{{{LOCKS}, kind="connection"}}': "0x16 2x4",
        },
        fires=True,
        value="4",
    ),
    Case("SqmonMetricUnhealthy", {f"sqmon_healthy{{{LOCKS}}}": "1x12 0x8"}, fires=True),
    Case("SqmonMetricUnhealthy", {f"sqmon_healthy{{{LOCKS}}}": "1x17 0x3"}, fires=False),
    Case("SqmonGap", {f"sqmon_gaps_total{{{LOCKS}}}": "0x14 1x6"}, fires=True),
    Case("SqmonGap", {f"sqmon_gaps_total{{{LOCKS}}}": "0x4 1x16"}, fires=False),
    Case("SqmonDiskRefusesLines", {f"sqmon_buffer_bytes{{{LOCKS}}}": "0x15 8192x5"}, fires=True, value="8ki"),
    Case("SqmonDiskRefusesLines", {f"sqmon_buffer_bytes{{{LOCKS}}}": "0x10 8192x2 0x8"}, fires=False),
    Case("SqmonNotProved", {f"sqmon_proof_ok{{{PLACE}}}": "1x15 0x5"}, fires=True, target=""),
    Case("SqmonNotProved", {f"sqmon_proof_ok{{{PLACE}}}": "1x20"}, fires=False),
    Case("SqmonLoginPaused", {f"sqmon_logins_paused{{{PLACE}}}": "0x15 1x5"}, fires=True, target=""),
    Case("SqmonLoginPaused", {f"sqmon_logins_paused{{{PLACE}}}": "0x20"}, fires=False),
    Case("SqmonConfigRejected", {f"sqmon_config_ok{{{PLACE}}}": "1x15 0x5"}, fires=True, target=""),
    Case("SqmonConfigRejected", {f"sqmon_config_ok{{{PLACE}}}": "1x20"}, fires=False),
]


def promtool(*words: str, cwd: Path) -> str:
    """Run promtool, which must have nothing to say against it, and return what it said."""
    end = subprocess.run(["promtool", *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert end.returncode == 0, end.stdout + end.stderr
    return end.stdout


def test_rules_are_generated() -> None:
    """The file is what its source writes."""
    assert (PROMETHEUS / "rules.yaml").read_text("utf-8") == prometheus_rules()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the SDK needs Python 3.11")
def test_dashboard_is_generated() -> None:
    """The file is what its source writes."""
    from alloy.source.prometheus.dashboard import prometheus  # noqa: PLC0415 - needs the SDK

    assert (PROMETHEUS / "dashboard.json").read_text("utf-8") == prometheus()


def known_series() -> set[str]:
    """Return the name of every series that a scrape can give, apart from those of the process."""
    exporter = PrometheusExporter("127.0.0.1", 0)
    exporter.close()
    exporter.of("").on_event("worker_start", {"target": "show_locks"})
    registered = [metric.describe() for metric in vars(exporter).values() if hasattr(metric, "describe")]
    families = [family for described in registered for family in described] + list(exporter.gauges.collect())
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    return {family.name + suffix for family in families for suffix in suffixes[family.type]}


def test_series_that_are_asked_for_exist() -> None:
    """Every series of sqmon in a rule or a panel is one that the service shows."""
    asked = {name for expr in (*QUERIES.values(), *(rule["expr"] for rule in RULES)) for name in re.findall(r"\bsqmon_\w+", expr)}

    assert asked
    assert asked - known_series() == set()


def test_rules_say_what_lokis_say() -> None:
    """An alert that Loki's rules have too has the same severity there, and every rule sends people to a panel that exists."""
    groups = yaml.safe_load((ROOT / "alloy" / "loki" / "rules.yaml").read_text("utf-8"))["groups"]
    theirs = {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"]}
    ours = {rule["alert"]: rule["labels"]["severity"] for rule in RULES}

    assert {name: theirs.get(name, severity) for name, severity in ours.items()} == ours
    assert ours.keys() - theirs.keys() == {"SqmonMetricUnhealthy"}
    assert {rule["annotations"]["panel"] for rule in RULES} <= QUERIES.keys()
    assert {rule["annotations"]["dashboard"] for rule in RULES} == {f"/d/{BOARD['uid']}{AT_CLUSTER}"}


def test_counters_begin_at_zero() -> None:
    """A counter of a metric is there before it counts: to Prometheus, one that is born with its first failure has not grown."""
    exporter = PrometheusExporter("127.0.0.1", 0)
    exporter.close()
    for target in ("show_locks", "lifetimes"):
        exporter.of("").on_event("worker_start", {"target": target})

    assert [exporter.polls.labels("show_locks", status)._value.get() for status in ("ok", "error")] == [0, 0]
    targets = {sample.labels["target"] for family in exporter.polls.collect() for sample in family.samples}
    statuses = {sample.labels["status"] for family in exporter.polls.collect() for sample in family.samples if "status" in sample.labels}
    assert targets == {"show_locks"}  # the process that writes lifetimes polls nothing
    assert statuses == {"ok", "empty", "error", "timeout", "skipped"}
    assert [sample.value for family in exporter.gaps.collect() for sample in family.samples if sample.name.endswith("_total")] == [0, 0]


def test_every_alert_is_tried() -> None:
    """Every rule has a case in which it fires and one in which it doesn't."""
    assert {(case.alert, case.fires) for case in CASES} == {(rule["alert"], fires) for rule in RULES for fires in (True, False)}


@needs_promtool
def test_promtool_accepts_the_files(tmp_path: Path) -> None:
    """promtool accepts the scrape job and the rules, and understands the query of every panel."""
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    variables = {"$cluster": ".*", "$instance": ".*", "$__rate_interval": "1m"}
    panels = []
    for number, query in enumerate(QUERIES.values()):
        for name, value in variables.items():
            query = query.replace(name, value)  # noqa: PLW2901 - step by step
        panels.append({"record": f"panel:{number}", "expr": query})
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": panels}]}), "utf-8")

    promtool("check", "config", "scrape.yaml", cwd=tmp_path / "prometheus")
    promtool("check", "rules", "rules.yaml", cwd=tmp_path / "prometheus")
    said = promtool("check", "rules", "panels.yaml", cwd=tmp_path)
    assert f"SUCCESS: {len(QUERIES)} rules found" in said


def told(rule: Mapping[str, Any], case: Case) -> dict[str, str]:
    """Return the annotations with labels and value in their places."""
    places = {
        r"{{ or \$labels.cluster \$labels.instance }}": "prod",
        re.escape(AT_CLUSTER): "?var-cluster=prod",
        r"{{ \$labels.target }}": case.target,
        r"{{ \$value [^}]*}}": case.value,
    }
    said = dict(rule["annotations"])
    for pattern, text in places.items():
        said = {name: re.sub(pattern, text, annotation) for name, annotation in said.items()}
    return said


@needs_promtool
def test_alerts_fire_when_they_must(tmp_path: Path) -> None:
    """Fed with the series of each case, Prometheus' own engine fires the alerts that are meant, with a summary that names the place."""
    tests = []
    for case in CASES:
        (rule,) = [rule for rule in RULES if rule["alert"] == case.alert]
        named = {"cluster": "prod", "instance": "a:9188", **({"target": case.target} if case.target else {})}
        whole = named if "sum by" in rule["expr"] else {"job": "sqmon", **named}
        expected = [{"exp_labels": {**whole, **rule["labels"]}, "exp_annotations": told(rule, case)}]
        tests.append(
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
                "alert_rule_test": [{"eval_time": "20m", "alertname": case.alert, "exp_alerts": expected if case.fires else []}],
            }
        )
    shutil.copy(PROMETHEUS / "rules.yaml", tmp_path)
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}), "utf-8")

    promtool("test", "rules", "tests.yaml", cwd=tmp_path)
