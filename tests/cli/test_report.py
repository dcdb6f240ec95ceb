"""`sqmon report`, on the files of the real program."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sqmon.simulator import Simulator
from tests.support.program import POWERLESS, ended, service, wait_until

QUICK = {"show_locks": 0.2, "show_server_status": 0.2, "show_cluster_nodes": 0.2, "get_license_info": 0.2}


@pytest.fixture
def log_dir(simulator: Simulator, tmp_path: Path) -> Path:
    """Return the directory of a service that has polled."""
    metrics = {**QUICK, "show_version": 60}
    with service(simulator.port, tmp_path / "logs", "--cluster", "prod", metrics=metrics) as run:
        run.wait_for_polls("show_version", count=1)
        run.wait_for_polls(*QUICK, count=8)
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
    assert '<dt>monitor blind</dt><dd class="figure">never</dd>' in text
    assert text.endswith("</html>\n")
    assert "<h1>SQreamDB prod</h1>" in ended("report", str(log_dir), "-o", "-", cwd=tmp_path).stdout


def test_bundle_is_reported_as_its_directory(log_dir: Path, tmp_path: Path) -> None:
    """A bundle tells what the directory does that it was made of."""
    bundle = tmp_path / "site.tar.zst"
    packed = ended("bundle", "--log_dir", str(log_dir), "--sql", "full", "-o", str(bundle), cwd=tmp_path)
    pages = [ended("report", str(path), "-o", "-", cwd=tmp_path).stdout for path in (log_dir, bundle)]

    assert 0 == packed.code
    assert pages[0].partition("<footer>")[0] == pages[1].partition("<footer>")[0]


def test_single_file_is_reported(simulator: Simulator, tmp_path: Path) -> None:
    """The one file of a service that writes no directory tells of all its metrics."""
    file = tmp_path / "sqmon.jsonl"
    with service(simulator.port, tmp_path / "logs", "--log_file_path", str(file), metrics=QUICK) as run:
        wait_until(lambda: file.exists() and all(f'"metric":"{metric}"' in file.read_text("utf-8") for metric in QUICK))
        run.end()
    text = ended("report", str(file), "-o", "-", cwd=tmp_path).stdout

    assert all(metric in text for metric in QUICK)
    assert "No lock was seen." not in text


def test_name_of_the_page_says_the_range(log_dir: Path, tmp_path: Path) -> None:
    """Without a name, the page gets one from its range, in the working directory."""
    end = ended("report", str(log_dir), cwd=tmp_path)
    (page,) = tmp_path.glob("sqmon-report-20*.html")

    assert end.stderr.startswith(f"{page.name}: ")


def test_nothing_to_report_is_an_error_in_one_line(log_dir: Path, tmp_path: Path) -> None:
    """A directory without segments, a range before the oldest event, and a place that can't be written to are told in one line."""
    (tmp_path / "closed").mkdir(mode=0o555)
    here = str(log_dir)

    nothing = ended("report", str(tmp_path), cwd=tmp_path)
    assert (1, "", f"sqmon: {tmp_path}: has no events of a service, without which nobody knows when it was polled\n") == nothing
    assert (1, "", f"sqmon: {here}: nothing was written in that time\n") == ended("report", here, "--until", "2020-01-01", cwd=tmp_path)
    refused = ended("report", here, "-o", "closed/page.html", cwd=tmp_path, through=POWERLESS)
    assert (1, "", "sqmon: closed/page.html: can't be written: permission denied\n") == refused
    assert [] == [*(tmp_path / "closed").iterdir()]
