"""`sqmon assets`: what is written, what is replaced, and what is never touched."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from sqmon.cli import assets
from sqmon.cli.agent_config import SHIPPED
from tests.support import ROOT
from tests.support.program import ended


def tree(directory: Path) -> dict[str, bytes]:
    """Return the files below a directory: relative path -> content."""
    found = {}
    for place, _, names in os.walk(directory):
        found.update({(Path(place) / name).relative_to(directory).as_posix(): (Path(place) / name).read_bytes() for name in names})
    return found


def listing(files: dict[str, bytes]) -> bytes:
    """Return the list of checksums as `sha256sum` prints it."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()


def written(path: Path) -> tuple[int, int]:
    """Return what changes when a file is written again: its inode and its time."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_everything_that_ships_is_written(tmp_path: Path) -> None:
    """The directory has every file of the repository that ships, as it is there, and a list that sha256sum agrees with."""
    end = ended("assets", "out", cwd=tmp_path)
    found = tree(tmp_path / "out")
    expected = {f"agents/{name}": (ROOT / "alloy" / name).read_bytes() for name in SHIPPED.values()}
    for name in ("metrics", "clusters"):
        expected[f"schemas/{name}.schema.json"] = ended("schema", name, cwd=tmp_path).stdout.encode()
    for name, place in {
        "loki": ROOT / "alloy" / "loki",
        "grafana": ROOT / "alloy" / "grafana",
        "config_files": ROOT / "config_files",
        "completions": ROOT / "packages" / "completions",
        "prometheus": ROOT / "alloy" / "prometheus",
        "lnav": ROOT / "packages" / "lnav",
        "man": ROOT / "packages" / "man",
    }.items():
        expected.update({f"{name}/{path}": data for path, data in tree(place).items()})

    assert (end.code, end.stderr) == (0, "")
    assert end.stdout.splitlines() == [f"wrote out/{name}" for name in [*sorted(expected), "SHA256SUMS"]]
    checked = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path / "out", check=False)
    assert checked.returncode == 0
    assert found.pop("SHA256SUMS") == listing(dict(sorted(expected.items())))
    assert found == expected


def test_files_of_an_earlier_version_are_replaced(tmp_path: Path) -> None:
    """What an earlier version wrote is replaced, what no longer ships is removed with its directory, and the rest stays as it is."""
    out = tmp_path / "out"
    shipped = assets.files()
    earlier = {**shipped, "loki/loki.yaml": b"older", "gone/nowhere.yaml": b"no longer shipped"}
    assets.write(out, earlier)
    kept = written(out / "loki" / "rules.yaml")

    end = ended("assets", "out", cwd=tmp_path)

    assert (end.code, end.stderr) == (0, "")
    assert end.stdout.splitlines() == [
        "wrote out/loki/loki.yaml",
        "wrote out/SHA256SUMS",
        "removed out/gone/nowhere.yaml, which is no longer shipped",
    ]
    assert tree(out) == {**shipped, "SHA256SUMS": listing(shipped)}
    assert not (out / "gone").exists()
    assert written(out / "loki" / "rules.yaml") == kept
    assert ended("assets", "out", cwd=tmp_path).stdout == "out is up to date\n"


def test_call_that_was_interrupted_can_be_repeated(tmp_path: Path) -> None:
    """Files without a list, as a call leaves them that was killed half-way, are no obstacle."""
    shipped = assets.files()
    (tmp_path / "loki").mkdir()
    (tmp_path / "loki" / "rules.yaml").write_bytes(shipped["loki/rules.yaml"])

    new, removed = assets.write(tmp_path, shipped)

    assert (len(new), removed) == (len(shipped), [])


def somebody_elses(out: Path) -> str:
    """Put a file there that never shipped."""
    (out / "notes.txt").write_text("mine", "utf-8")
    return "notes.txt"


def changed(out: Path) -> str:
    """Change a file that shipped."""
    with (out / "loki" / "loki.yaml").open("a") as file:
        file.write("# ours\n")
    return "loki/loki.yaml"


def linked(out: Path) -> str:
    """Put a link in the place of a file."""
    (out / "loki" / "loki.yaml").unlink()
    (out / "loki" / "loki.yaml").symlink_to(ROOT / "alloy" / "loki" / "loki.yaml")
    return "loki/loki.yaml"


def linked_directory(out: Path) -> str:
    """Put a link to a directory in."""
    (out / "elsewhere").symlink_to(ROOT)
    return "elsewhere"


def piped(out: Path) -> str:
    """Put a pipe in the place of a file, which must not be waited for."""
    (out / "loki" / "loki.yaml").unlink()
    os.mkfifo(out / "loki" / "loki.yaml")
    return "loki/loki.yaml"


def other_list(out: Path) -> str:
    """Put a file of that name there that is not one of our lists."""
    (out / "SHA256SUMS").write_text("see below\n", "utf-8")
    return "SHA256SUMS"


@pytest.mark.parametrize("disturb", [somebody_elses, changed, linked, linked_directory, piped, other_list])
def test_what_is_not_ours_is_never_touched(tmp_path: Path, disturb: Callable[[Path], str]) -> None:
    """A directory with anything that no earlier call has written, or that was changed since, is refused in one line and stays as it is."""
    out = tmp_path / "out"
    assets.write(out, {**assets.files(), "loki/rules.yaml": b"older"})
    name = disturb(out)

    end = ended("assets", "out", cwd=tmp_path)

    assert (end.code, end.stdout) == (1, "")
    (line,) = end.stderr.splitlines()
    assert line.startswith("sqmon: out: holds what sqmon assets has not written, or what was changed since: ")
    assert name in line
    assert (out / "loki" / "rules.yaml").read_bytes() == b"older"


def test_large_directory_is_refused_at_once(tmp_path: Path) -> None:
    """Of many files that are not ours, a few are named."""
    for number in range(20):
        (tmp_path / f"{number:02}").touch()

    end = ended("assets", ".", cwd=tmp_path)

    assert end.code == 1
    assert re.fullmatch(r"sqmon: \.: .*: (\d\d, ){5}and more; give a new directory, or move these files away\n", end.stderr)


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_what_is_no_directory_is_told(tmp_path: Path, name: str) -> None:
    """A file in the place of the directory is an error of one line."""
    (tmp_path / "file").write_text("x", "utf-8")

    end = ended("assets", name, cwd=tmp_path)

    assert (end.code, end.stdout) == (1, "")
    assert end.stderr.startswith("sqmon: file")
    assert end.stderr.endswith("not a directory\n")
