"""Completion in the real shells, and its files as the commands' parsers want them."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from packages import generated
from packages.completions import PATHS
from tests.support.program import DEADLINE_SECONDS, environment

FILES = generated.PLACE / "completions"
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "--interactive"],
}
LOADED = {
    "bash": f"source {FILES}/bash/sqmon",
    "zsh": f"autoload -U compinit; fpath=({FILES}/zsh $fpath); compinit -u -D",
    "fish": f"source {FILES}/fish/sqmon.fish",
}
SAID = {
    "bash": "sqmon() { printf 'typed %s.\\n' \"$*\"; }",
    "zsh": "sqmon() { printf 'typed %s.\\n' \"$*\"; }",
    "fish": 'function sqmon; echo typed "$argv".; end',
}
TYPED = {
    "sqmon sta\t": "status",
    "sqmon verify --dee\t": "verify --deep",
    "sqmon run --sql ma\t": "run --sql masked",
    "sqmon --compress ne\t": "--compress never",
    "sqmon history stat\t": "history statements",
    "sqmon once show_loc\t": "once show_locks",
    "sqmon status --log_dir some_d\t": "status --log_dir some_dir",
    "sqmon run --metrics_file some_f\t": "run --metrics_file some_file",
}
"""What is typed before Enter -> the words that the command then gets."""


def test_files_are_those_of_the_parsers() -> None:
    """Completions and man pages are what `make pages` makes of the commands as they are now."""
    stale = {name for name, text in generated.files().items() ^ generated.present().items()}

    assert stale == set(), "run `make pages`"


@contextlib.contextmanager
def terminal(shell: str, place: Path) -> Iterator[int]:
    """Start a shell that has a terminal of its own, and yield the other end of it."""
    ours, theirs = pty.openpty()
    more = {"TERM": "dumb", "PS1": "$ ", "HOME": str(place), "HISTFILE": "", "COLUMNS": "200"}
    words = ["setsid", "--ctty", *SHELLS[shell]]
    process = subprocess.Popen(words, cwd=place, env=environment(**more), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def heard(terminal: int, wanted: str) -> str:
    """Return what the shell printed until the text came; fails when it doesn't in time."""
    text = ""
    end = time.monotonic() + DEADLINE_SECONDS
    while wanted not in text:
        assert select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0], f"{wanted!r} did not come: {text!r}"
        text += os.read(terminal, 4096).decode("utf-8", "replace")
    return text


@pytest.mark.parametrize("shell", PATHS)
def test_shell_completes_what_is_typed(shell: str, tmp_path: Path) -> None:
    """With the Tab key, a real shell completes commands, options, the values of options and arguments, directories and files."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "some_dir").mkdir()
    (tmp_path / "some_file").touch()
    with terminal(shell, tmp_path) as line:
        os.write(line, f"{LOADED[shell]}; {SAID[shell]}; echo rea''dy\n".encode())
        heard(line, "ready")
        for keys, words in TYPED.items():
            os.write(line, keys.encode() + b"\n")
            heard(line, f"typed {words}")
