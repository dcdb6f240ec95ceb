"""`sqmon report`, on the files of the real program."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sqmon.simulator import Simulator
from tests.support.program import POWERLESS, ended, service

QUICK = {"show_locks": 0.2, "show_server_status": 0.2, "show_cluster_nodes": 0.2, "get_license_info": 0.2}


@pytest.fixture
def log_dir(simulator: Simulator, tmp_path: Path) -> Path:
    """Return the directory of a service that has polled."""
    with service(simulator.port, tmp_path / "logs", "--cluster", "prod", metrics=QUICK) as run:
        run.wait_for_polls(*QUICK)
        run.end()
    return tmp_path / "logs"


def test_report_of_a_service(log_dir: Path, tmp_path: Path) -> None:
    """One page, which only owner and group may read, tells of everything that was polled; an earlier one is replaced whole."""
    page = tmp_path / "page.html"
    page.write_text("an earlier one")
    end = ended("report", str(log_dir), "-o", str(page), cwd=tmp_path)

    text = page.read_text("utf-8")
    assert (0, "") == (end.code, end.stdout)
    assert end.stderr.startswith(f"{page}: 0.")
    assert 0o640 == stat.S_IMODE(page.stat().st_mode)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "<h1>SQreamDB prod</h1>" in text
    assert all(metric in text for metric in QUICK)
    assert text.endswith("</html>\n")
    assert "<h1>SQreamDB prod</h1>" in ended("report", str(log_dir), "-o", "-", cwd=tmp_path).stdout


def test_name_of_the_page_says_the_range(log_dir: Path, tmp_path: Path) -> None:
    """Without a name, the page gets one from its range, in the working directory."""
    end = ended("report", str(log_dir), cwd=tmp_path)
    (page,) = tmp_path.glob("sqmon-report-20*.html")

    assert end.stderr.startswith(f"{page.name}: ")


def test_nothing_to_report_is_an_error_in_one_line(log_dir: Path, tmp_path: Path) -> None:
    """A directory without segments, a range before the oldest event, and a place that can't be written to are told in one line."""
    (tmp_path / "closed").mkdir(mode=0o555)
    here = str(log_dir)

    assert (1, "", f"sqmon: {tmp_path}: no segments of a service here; give its --log_dir, or a bundle\n") == ended(
        "report", str(tmp_path), cwd=tmp_path
    )
    assert (1, "", f"sqmon: {here}: nothing was written in that time\n") == ended("report", here, "--until", "2020-01-01", cwd=tmp_path)
    refused = ended("report", here, "-o", "closed/page.html", cwd=tmp_path, through=POWERLESS)
    assert (1, "", "sqmon: closed/page.html: can't be written: permission denied\n") == refused
    assert [] == [*(tmp_path / "closed").iterdir()]
