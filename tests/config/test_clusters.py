"""The files of --clusters_dir: what they may say, what they share, and how mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sqmon.config.clusters import Basis, Described, read_all
from sqmon.config.clusters_directory import ClustersDirectory
from sqmon.config.password import PasswordSource
from sqmon.config.settings import Configuration, Connection, Outside, Retention, SegmentOutput, Settings
from sqmon.config.sources import Change, Rejected, Removed
from sqmon.errors import ConfigError
from tests.support.program import wait_until

GIVEN = Connection("localhost", 5000, "master", "sqream", "monitor", password=PasswordSource("from the options"))


def put(directory: Path, name: str, content: Any, mode: int = 0o640) -> Path:
    """Write a file."""
    path = directory / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    path.chmod(mode)
    return path


def described(directory: Path, name: str = "prod", only: str = "") -> Described:
    """Return what the files say of one cluster."""
    return read_all(directory, Basis(GIVEN, None, None, only))[name].described


def problems(directory: Path, content: Any, mode: int = 0o640) -> list[str]:
    """Return what is wrong with a file of this content, without its place."""
    path = put(directory, "prod.json", content, mode)
    found = described(directory).problems
    assert all(problem.startswith(f"{path}: ") for problem in found)
    return [problem[len(f"{path}: ") :] for problem in found]


def test_file_says_where_and_the_options_say_the_rest(tmp_path: Path) -> None:
    """What a file leaves out is as among the options; metrics are the built-in five where nobody names any."""
    put(tmp_path, "prod.json", {"$schema": "clusters.json", "host": "10.0.0.1", "port": 5001, "clustered": True})
    found = described(tmp_path)

    assert found.problems == []
    assert found.connection == Connection("10.0.0.1", 5001, "master", "sqream", "monitor", clustered=True, password=GIVEN.password)
    assert [metric.name for metric in found.metrics][:1] == ["show_server_status"]


def test_defaults_are_shared_and_a_cluster_may_differ(tmp_path: Path) -> None:
    """The defaults stand for what a file leaves out; its own password or metrics take the place of both of their forms."""
    put(tmp_path, "password", "secret\n")
    put(tmp_path, "own.json", {"show_locks": 7})
    shared = {"host": "10.0.0.1", "user": "watcher", "password_file": "password", "metrics": {"show_locks": 3}}
    put(tmp_path, "_defaults.json", shared)
    put(tmp_path, "prod.json", {"port": 5001})
    put(tmp_path, "dev.json", {"host": "10.0.0.2", "password": "other", "metrics_file": "own.json.metrics"})
    put(tmp_path, "own.json.metrics", {"show_locks": 7})
    (tmp_path / "own.json").unlink()
    prod, dev = described(tmp_path), described(tmp_path, "dev")

    assert [] == prod.problems == dev.problems
    assert ("10.0.0.1", "watcher", "secret", 3.0) == (
        prod.connection.host,
        prod.connection.user,
        prod.connection.password.read(),
        prod.metrics[0].interval,
    )
    assert ("10.0.0.2", "watcher", "other", 7.0) == (
        dev.connection.host,
        dev.connection.user,
        dev.connection.password.read(),
        dev.metrics[0].interval,
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"hots": "a"}, "hots: is unknown; did you mean host?"),
        ({"host": "a", "port": "5000"}, "port: expected `int`, got `str`"),
        ({"host": "a", "port": 0}, "port: expected `int` >= 1"),
        ({"host": "a:5000"}, "host: 'a:5000' is not a host name or an address alone; the port has an option of its own"),
        ({"port": 5000}, "host: is missing, here and in _defaults.json"),
        (
            {"host": "a", "user": 'x"'},
            "user: 'x\"' can't be sent to SQreamDB; use ASCII without quotes, backslashes and control characters",
        ),
        ({"host": "a", "password_file": "none"}, "password_file"),
        ({"host": "a", "password": "x", "password_file": "y"}, "password: excludes password_file; give one of them"),
        ({"host": "a", "metrics": 5}, 'metrics: must be an object of metric names and seconds, like {"show_locks": 2}'),
        ({"host": "a", "metrics": {"show_lock": 2}}, "metrics: show_lock: is not a known function; did you mean show_locks?"),
        ({"host": "a", "server_timezone": "Mars/Phobos"}, "server_timezone: "),
        ('{"host": "a", "host": "b"}', "host: appears twice"),
        ("[]", "must be an object of what is special about a cluster"),
        ("", "is empty; write for example"),
    ],
)
def test_mistake_is_told_with_its_place(tmp_path: Path, content: Any, problem: str) -> None:
    """Every mistake names the file and the key, and what to do about it."""
    (told,) = problems(tmp_path, content)

    assert told.startswith(problem)


def test_json_error_has_line_and_column(tmp_path: Path) -> None:
    """A text that is no JSON is told with the place of the mistake."""
    path = put(tmp_path, "prod.json", '{"host":\n oops}')

    assert described(tmp_path).problems[0].startswith(f"{path}:2:2: is not JSON: ")


@pytest.mark.parametrize(("mode", "accepted"), [(0o600, True), (0o640, True), (0o644, False), (0o660, False)])
def test_password_in_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int, accepted: bool) -> None:
    """A file that holds the password itself may be read by nobody but its owner and its group, and the message never repeats it."""
    told = problems(tmp_path, {"host": "a", "password": "very secret"}, mode)

    assert accepted == (not told)
    assert "very secret" not in "".join(told)


@pytest.mark.parametrize("name", ["a b", "_other", "archive", "sqmon", "x" * 64])
def test_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    """The name becomes a directory, a label and part of a path, so only harmless ones are taken."""
    put(tmp_path, f"{name}.json", {"host": "a"})
    (reading,) = read_all(tmp_path, Basis(GIVEN, None, None)).values()

    assert "can't be the name of a cluster" in reading.described.problems[0]


def test_directory_without_a_cluster_is_an_error(tmp_path: Path) -> None:
    """An empty directory, or one that isn't there, is an error that says what to write."""
    with pytest.raises(ConfigError, match="has no file of a cluster; write for example"):
        read_all(tmp_path, Basis(GIVEN, None, None))
    with pytest.raises(ConfigError, match="can't be read: no such file"):
        read_all(tmp_path / "none", Basis(GIVEN, None, None))


def test_only_one_cluster_counts_when_it_is_named(tmp_path: Path) -> None:
    """With a name, the other files are not even read."""
    put(tmp_path, "prod.json", {"host": "a"})
    put(tmp_path, "dev.json", "broken")

    assert described(tmp_path, only="prod").problems == []
    with pytest.raises(ConfigError, match=r"test\.json: there is no such file, which --cluster asks for"):
        described(tmp_path, only="test")


class Source:
    """A directory of clusters as the service reads it, with a clock that goes on at each look."""

    def __init__(self, directory: Path) -> None:
        base = Settings(
            connection=GIVEN,
            output=SegmentOutput(Path("logs")),
            metrics_file=None,
            outside=Outside(GIVEN, allow_gpu=False, loki=None, startup_timeout=0.0),
            query_timeout=None,
            retention=Retention(1.0, 1, 0, None),
            sql="full",
            lifetimes=False,
            metrics_port=None,
            metrics_address="",
        )
        self.now = 0.0
        self.directory = ClustersDirectory(directory, base)

    def look(self) -> list[Change]:
        """Return what has changed since the last look."""
        self.directory.touched(self.now)
        found: list[Change] = []

        def settled() -> bool:
            self.now += 0.1
            if self.now >= self.directory.due:
                found.extend(self.directory.changes(self.now))
            return self.directory.settled

        wait_until(settled)
        return found


def test_changes_are_those_of_one_cluster(tmp_path: Path) -> None:
    """What is added, changed, wrong, right again or removed is told once, and of that cluster alone."""
    put(tmp_path, "prod.json", {"host": "a"})
    source = Source(tmp_path)
    (first,) = source.directory.read()
    assert source.look() == []

    put(tmp_path, "dev.json", {"host": "b"})
    (added,) = source.look()
    put(tmp_path, "dev.json", {"host": "b", "metrics": {"show_locks": 2}})
    (changed,) = source.look()
    put(tmp_path, "dev.json", {"hots": "b"})
    (wrong,) = source.look()
    assert source.look() == []
    put(tmp_path, "dev.json", {"host": "b", "metrics": {"show_locks": 2}})
    (right,) = source.look()
    (tmp_path / "dev.json").unlink()
    (gone,) = source.look()

    assert isinstance(added, Configuration)
    assert ("dev", Path("logs/dev"), "b") == (added.name, added.settings.output.log_dir, added.settings.connection.host)  # type: ignore[union-attr]
    assert isinstance(changed, Configuration)
    assert (added.settings, [2.0]) == (changed.settings, [metric.interval for metric in changed.metrics])
    assert isinstance(wrong, Rejected)
    assert "dev" == wrong.name
    assert changed == right
    assert Removed("dev") == gone
    assert first.name == "prod"


def test_directory_that_is_gone_or_empty_changes_nothing(tmp_path: Path) -> None:
    """An unmounted directory is a problem of every cluster and ends none of them; when it is back, all is right again."""
    directory = tmp_path / "clusters"
    directory.mkdir()
    put(directory, "prod.json", {"host": "a"})
    source = Source(directory)
    source.directory.read()
    directory.rename(tmp_path / "elsewhere")
    (gone,) = source.look()
    directory.mkdir()
    (empty,) = source.look()
    directory.rmdir()
    (tmp_path / "elsewhere").rename(directory)
    (back,) = source.look()

    assert isinstance(gone, Rejected)
    assert gone.problems == [f"{directory}: can't be read: no such file or directory"]
    assert isinstance(empty, Rejected)
    assert "has no file of a cluster" in empty.problems[0]
    assert isinstance(back, Configuration)


def test_metrics_file_of_a_cluster_is_followed(tmp_path: Path) -> None:
    """A change of the metrics file that a cluster names is a change of that cluster."""
    put(tmp_path, "metrics", {"show_locks": 2})
    put(tmp_path, "prod.json", {"host": "a", "metrics_file": "metrics"})
    put(tmp_path, "dev.json", {"host": "a"})
    source = Source(tmp_path)
    source.directory.read()
    put(tmp_path, "metrics", {"show_locks": 3})
    (changed,) = source.look()

    assert isinstance(changed, Configuration)
    assert ("prod", [3.0]) == (changed.name, [metric.interval for metric in changed.metrics])
