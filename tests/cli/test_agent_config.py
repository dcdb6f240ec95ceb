"""`sqmon agent-config`: which directory and which Loki its configuration is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqmon.cli.agent_config import SHIPPED
from sqmon.config import settings
from tests.support.program import ended


def test_directory_that_nobody_has_named_is_told(tmp_path: Path) -> None:
    """A directory that was not named is said on stderr, since no service may have made it yet."""
    end = ended("agent-config", "alloy", cwd=tmp_path)
    assumed = (tmp_path / settings.log_dir_to_read()).absolute()

    assert end.code == 0
    assert str(assumed) in end.stdout
    missing = "" if assumed.is_dir() else ", which does not exist yet"
    assert end.stderr == f"sqmon: no --log_dir was given: this is for {assumed}{missing}\n"


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "environment"])
def test_directory_that_was_named_is_in_every_configuration(tmp_path: Path, name: str) -> None:
    """A directory that was named is in every configuration; for `offline` it is that of the segments that were carried out."""
    end = ended("agent-config", name, "--log_dir", "/srv/lines", cwd=tmp_path)

    assert (end.code, end.stderr) == (0, "")
    assert "/srv/lines" in end.stdout


@pytest.mark.parametrize("name", SHIPPED)
def test_address_is_in_brackets_where_a_url_is_made(tmp_path: Path, name: str) -> None:
    """An IPv6 address is in brackets, except for Fluent Bit, which makes no URL of it."""
    text = ended("agent-config", name, "--log_dir", "/srv/lines", "--loki_host", "::1", cwd=tmp_path).stdout

    assert "::1" in text
    assert text.count("[::1]") == (0 if name == "fluent-bit" else text.count("::1"))
