"""The log for people."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

CODE = r"""
from sqmon import logs
relay = logs.configure("info")
logs.get_logger().warning("poll", error="\x1b]0;title\x07\x1b[2J\u009b1mred\u202ethgir")
relay.end(10)
"""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def test_text_from_outside_steers_no_terminal() -> None:
    """A text from a server or a port is shown on a terminal without controlling it."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", CODE], stderr=theirs, check=True)
        screen = COLOUR.sub("", os.read(ours, 65536).decode())
    finally:
        os.close(ours)
        os.close(theirs)

    assert [character for character in screen if not character.isprintable() and character not in "\r\n"] == []
    assert r"\x1b]0;title" in screen
