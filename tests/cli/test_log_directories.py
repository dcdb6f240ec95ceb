"""Which log directories a reading command means: that of one service, or those of several clusters."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from sqmon.cli.log_directories import OPTIONS, chosen
from sqmon.config import options
from sqmon.errors import SqmonError
from sqmon.health.status_file import Status, StatusFile


def meant(log_dir: Path, *words: str) -> list[tuple[str, Path]]:
    """Return what a command with these words on its command line reads."""
    parser = argparse.ArgumentParser()
    options.add_options(parser, {"files": OPTIONS})
    return chosen(parser.parse_args(["--log_dir", str(log_dir), *words]))


def directory_of_a_service(log_dir: Path, cluster: str = "") -> Path:
    """Make a directory as a service leaves it: with events, archives, and a status that has the name of its cluster."""
    for name in ("sqmon", "show_locks", "archive/sqmon"):
        (log_dir / name).mkdir(parents=True)
    status = StatusFile(log_dir)
    status.write(Status(generation=1, version="0", pid=1, cluster=cluster, started="", updated_ns=0, end=1))
    status.close()
    return log_dir


def test_directory_of_a_service_is_meant_as_it_is(tmp_path: Path) -> None:
    """The directory of one service is the one that is read, and its archives are no cluster; so is one that isn't there yet."""
    assert meant(directory_of_a_service(tmp_path / "logs")) == [("", tmp_path / "logs")]
    assert meant(tmp_path / "none") == [("", tmp_path / "none")]


def test_clusters_are_meant_all_or_one(tmp_path: Path) -> None:
    """A directory of several clusters means all of them by name, --cluster one of them, and what a service wrote before comes first."""
    for name in ("prod", "dev"):
        directory_of_a_service(tmp_path / name, name)
    (tmp_path / "lost+found").mkdir()

    assert meant(tmp_path) == [("dev", tmp_path / "dev"), ("prod", tmp_path / "prod")]
    assert meant(tmp_path, "--cluster", "prod") == [("prod", tmp_path / "prod")]
    directory_of_a_service(tmp_path / "before")
    (tmp_path / "before" / "sqmon").rename(tmp_path / "sqmon")
    assert meant(tmp_path)[0] == ("", tmp_path)


def test_unknown_cluster_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    """A cluster that has no directory is an error that names the clusters that have one."""
    for name in ("prod", "dev"):
        directory_of_a_service(tmp_path / name, name)

    with pytest.raises(SqmonError, match=r"holds no cluster 'prdo'; there are dev, prod$"):
        meant(tmp_path, "--cluster", "prdo")


def test_service_alone_is_known_by_its_own_name(tmp_path: Path) -> None:
    """--cluster with the directory of one service is right when that has this name, and an error when it has another one or none."""
    prod = directory_of_a_service(tmp_path / "one", "prod")
    nameless = directory_of_a_service(tmp_path / "two")

    assert meant(prod, "--cluster", "prod") == [("prod", prod)]
    with pytest.raises(SqmonError, match="one service alone, of 'prod'"):
        meant(prod, "--cluster", "dev")
    with pytest.raises(SqmonError, match="without a name"):
        meant(nameless, "--cluster", "dev")
