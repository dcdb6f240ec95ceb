"""The man pages in the real formatters."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from packages import generated
from sqmon.cli import main

PAGES = sorted((generated.PLACE / "man").glob("*.1"))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a program and return its end."""
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_every_command_has_a_page() -> None:
    """There is a page for the program and one for each command."""
    assert {page.name for page in PAGES} == {"sqmon.1", *(f"sqmon-{name}.1" for name in main.COMMANDS)}


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_nothing_to_warn_of() -> None:
    """groff prints every page without any of its warnings."""
    ends = {page.name: run("groff", "-ww", "-man", "-Tutf8", str(page)) for page in PAGES}

    assert {name: (end.returncode, end.stderr) for name, end in ends.items()} == dict.fromkeys(ends, (0, ""))
    assert "--log_dir" in ends["sqmon-status.1"].stdout.replace("\x1b[0m", "")


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_has_nothing_to_warn_of() -> None:
    """mandoc finds no warning in any page."""
    end = run("mandoc", "-Tlint", "-Wwarning", *map(str, PAGES))

    assert (end.returncode, end.stdout) == (0, "")
