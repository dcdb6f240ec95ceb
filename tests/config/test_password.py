"""The password: where it comes from, when it is read, and that nothing shows it."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path
from typing import Optional

import pytest

from sqmon.config import arguments, options
from sqmon.config.password import PasswordSource
from sqmon.errors import ConfigError

SECRET = "hush-Hush-1!"


def refusal(source: PasswordSource) -> str:
    """Return the line that says why there is no password."""
    with pytest.raises(ConfigError) as caught:
        source.read()
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("password", ['a"b', "a\\b", "a\nb", "pässword"])
def test_password_that_can_not_be_sent_is_refused_without_being_named(tmp_path: Path, password: str) -> None:
    """A password that can't be sent is refused without being repeated, whether it was given or is in a file."""
    path = tmp_path / "password"
    path.write_text(password, "utf-8")
    for source in (PasswordSource(password), PasswordSource(file=path)):
        line = refusal(source)
        assert password not in line
        assert "can't send this password" in line


def test_password_is_shown_nowhere() -> None:
    """Neither a log nor a traceback that prints the settings shows the password."""
    parser = argparse.ArgumentParser()
    options.add_options(parser, options.GROUPS)
    made = arguments.settings_of(parser.parse_args(["--password", SECRET]))

    assert made.connection.password.read() == SECRET
    assert SECRET not in f"{made!r}{made}{made.connection!r}{made.outside!r}"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_file_is_read_at_each_login(tmp_path: Path, end: str) -> None:
    """The file is read at each login and not before; its line end is not part of the password, blanks are."""
    path = tmp_path / "password"
    source = PasswordSource(file=path)
    path.write_bytes(b" one " + end.encode())
    first = source.read()
    path.write_bytes(b"two" + end.encode())

    assert (first, source.read()) == (" one ", "two")


def test_file_wins_over_the_text(tmp_path: Path) -> None:
    """A password file wins over --password, whose default can't be told from a given value."""
    path = tmp_path / "password"
    path.write_text("from the file", "utf-8")

    assert PasswordSource("sqream", path).read() == "from the file"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "can't be read: no such file or directory"),
        (b"\xff", "can't be read: it is not UTF-8 text"),
        (b"x" * 5000, "can't be read: it has more than 4096 bytes"),
        (b"", "is empty"),
        (b"\n", "is empty"),
    ],
)
def test_file_that_can_not_be_read(tmp_path: Path, content: Optional[bytes], reason: str) -> None:
    """The line names the file and the reason."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)

    assert refusal(PasswordSource(file=path)) == f"--password_file {path}: {reason}"


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """A FIFO, which would hold its reader for ever, is refused at once."""
    path = tmp_path / "password"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "socket":
            server.bind(str(path))

        assert refusal(PasswordSource(file=path)) == f"--password_file {path}: can't be read: it is not a regular file"
