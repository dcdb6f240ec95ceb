"""Settings: where they come from, and what can't be sent to SQreamDB."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from sqmon.config import arguments, options, settings
from sqmon.config.settings import Connection, Settings
from sqmon.errors import ConfigError


def connection(**changes: Any) -> Connection:
    """Return the usual connection with `changes`."""
    usual: dict[str, Any] = {"host": "h", "port": 5000, "database": "master", "user": "sqream", "service": "monitor"}
    return Connection(**{**usual, **changes})


def settings_of(*words: str) -> Settings:
    """Return the settings of `sqmon run` with these words."""
    parser = argparse.ArgumentParser()
    options.add_options(parser, options.GROUPS)
    return arguments.settings_of(parser.parse_args(words))


@pytest.mark.parametrize("name", ["host", "database", "user", "service"])
@pytest.mark.parametrize("value", ["", 'a"b', "a\\b", "a\nb", "é", "a\x1bb"])
def test_what_would_break_the_login_message_is_refused(name: str, value: str) -> None:
    """What pysqream would paste into the login message and break it is refused."""
    with pytest.raises(ConfigError) as caught:
        connection(**{name: value})

    assert caught.value.problems == [
        f"--{name}: {value!r} can't be sent to SQreamDB; use ASCII without quotes, backslashes and control characters"
    ]


def test_segments_by_default() -> None:
    """The defaults are segments of 64 MiB or a day, a week and 2 GiB of them, and a Loki that is asked."""
    made = settings_of("--log_dir", "somewhere")
    retention = made.retention

    assert made.output == settings.SegmentOutput(Path("somewhere"), settings.SegmentOptions(64 << 20, 86400, 8 << 20, "interval"))
    assert (retention.seconds, retention.bytes, retention.min_free_bytes) == (7 * 86400, 2 << 30, 0)
    assert made.outside.loki == ("localhost", 3100)
    assert made.outside.startup_timeout == 30


def test_log_file_path_that_is_a_file(tmp_path: Path) -> None:
    """A --log_file_path that is no directory is one file for all metrics, without Loki."""
    made = settings_of("--log_file_path", str(tmp_path / "all.jsonl"))

    assert (made.output, made.outside.loki) == (settings.FileOutput(tmp_path / "all.jsonl"), None)


@pytest.mark.parametrize("end", ["/", ""])
def test_log_file_path_that_is_a_directory(tmp_path: Path, end: str) -> None:
    """A --log_file_path that ends in / or exists as a directory holds segments, without Loki."""
    place = tmp_path / "new" if end else tmp_path
    made = settings_of("--log_file_path", f"{place}{end}")

    assert (made.output, made.outside.loki) == (settings.SegmentOutput(place), None)


def test_log_dir_and_a_file_exclude_each_other(tmp_path: Path) -> None:
    """--log_dir and a single file can't be given together."""
    with pytest.raises(ConfigError) as caught:
        settings_of("--log_dir", "d", "--log_file_path", str(tmp_path / "f"))

    assert caught.value.problems == ["--log_dir: segments and a --log_file_path FILE exclude each other; give one of them"]


def test_metrics_file_is_the_first_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics file is the first that exists: in the working directory, in config_files, in /etc, or none."""
    monkeypatch.chdir(tmp_path)
    found = [settings.default_metrics_file()]
    for place in ("config_files", "."):
        Path(place).mkdir(exist_ok=True)
        Path(place, "monitor_input.json").write_text("{}", "utf-8")
        found.append(settings.default_metrics_file())

    assert found[0] in (None, Path("/etc/sqmon/monitor_input.json"))
    assert found[1:] == [Path("config_files/monitor_input.json"), Path("monitor_input.json")]


def test_log_dir_is_somewhere_that_can_be_written_to() -> None:
    """The default log directory is the system's if it is writable, else one in the working directory."""
    assert settings.default_log_dir() in (Path("/var/log/sqmon"), Path("logs"))
