"""The shipped files as their programs read them, with the variables of the environment filled in."""

from __future__ import annotations

import json
import re
from typing import Any, Callable

import pytest

from sqmon.cli.agent_config import SHIPPED
from tests.support.expansion import (
    Environment,
    RefusedError,
    alloy,
    compose,
    environment_file,
    fluent_bit,
    grafana,
    otel,
    promtail,
    systemd,
    vector,
)
from tests.support.loki import ALLOY

EMPTY: Environment = {}
FULL: Environment = {
    "SQMON_LOG_DIR": "/srv/lines",
    "SQMON_OFFLINE_DIR": "/srv/carried",
    "SQMON_CLUSTER": "prod-1",
    "SQMON_INSTANCE": "host-7",
    "LOKI_HOST": "loki.example.com",
    "LOKI_PORT": "3200",
    "LOKI_URL": "https://loki.example.com/push",
    "LOKI_TENANT_ID": "site",
    "LOKI_BEARER_TOKEN": "geheim",
}
Reader = Callable[[str, Environment], Any]
READERS: dict[str, Reader] = {
    "config.alloy": alloy,
    "offline.alloy": alloy,
    "promtail.yaml": promtail,
    "loki/loki.yaml": promtail,
    "fluent-bit.yaml": fluent_bit,
    "vector.yaml": vector,
    "otel.yaml": otel,
    "compose.yaml": compose,
    "grafana/provisioning/datasources/loki.yaml": grafana,
    "grafana/provisioning/dashboards/sqmon.yaml": grafana,
    "vlagent.service": systemd,
    "../config_files/systemd/sqmon.service": systemd,
    "alloy.env": lambda text, _: environment_file(text),
}


def read(name: str, environment: Environment) -> Any:
    """Return what the program of a file reads."""
    return READERS[name]((ALLOY / name).read_text("utf-8"), environment)


def test_every_shipped_file_has_a_reader() -> None:
    """A file that nobody reads here could be one that doesn't start."""
    assert set(SHIPPED.values()) <= set(READERS)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("environment", [EMPTY, FULL], ids=["empty", "full"])
def test_program_starts(name: str, environment: Environment) -> None:
    """A file is read with nothing set and with everything set, and no variable is left in what was read."""
    found = json.dumps(read(name, environment), default=str)

    assert found not in ("null", "[]", "{}")
    assert "${" not in found


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("config.alloy", ["/srv/lines", "host-7", "prod-1", "loki.example.com", "3200"]),
        ("offline.alloy", ["/srv/carried", "host-7", "prod-1", "loki.example.com", "3200"]),
        ("promtail.yaml", ["/srv/lines/*/*.jsonl", "host-7", "prod-1", "http://loki.example.com:3200/", "site", "geheim"]),
        ("vector.yaml", ["/srv/lines/*/*.jsonl", "host-7", "prod-1", "http://loki.example.com:3200"]),
        ("grafana/provisioning/datasources/loki.yaml", ["https://loki.example.com/push"]),
        ("otel.yaml", ["/srv/lines/*/*.jsonl", "host-7", "prod-1", "http://loki.example.com:3200/otlp"]),
    ],
)
def test_environment_wins(name: str, texts: list[str]) -> None:
    """What a site sets in the environment takes the place of what was printed."""
    found = json.dumps(read(name, FULL), default=str)

    assert [text for text in texts if text not in found] == []


@pytest.mark.parametrize("name", ["promtail.yaml", "fluent-bit.yaml", "vector.yaml", "otel.yaml"])
def test_settings_in_comments_are_read_too(name: str) -> None:
    """Whatever a comment offers is accepted once its mark is removed."""
    lines = (ALLOY / name).read_text("utf-8").splitlines()
    offered = re.compile(r"^ *# (tenant_id|bearer_token|uri|path|auth|headers): ")
    for number, line in enumerate(lines):
        if offered.match(line):
            changed = [*lines[:number], line.replace("# ", "", 1), *lines[number + 1 :]]
            assert READERS[name]("\n".join(changed), FULL), line


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (promtail, "a: 1  # what stands in ${}\n"),
        (vector, "a: 1  # ${UNKNOWN}\n"),
        (otel, "a: $HOME\n"),
        (compose, "a: cost in $\n"),
        (alloy, 'a = coalesce(sys.env("X"), "${Y}")'),
        (systemd, "[Service]\nExecStart=/bin/x %{HOSTNAME}\n"),
    ],
)
def test_reader_refuses_what_its_program_refuses(reader: Reader, text: str) -> None:
    """The readers of this test are as strict as the programs."""
    with pytest.raises(RefusedError):
        reader(text, EMPTY)
