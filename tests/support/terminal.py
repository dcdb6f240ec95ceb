"""A program on a terminal of its own: what it shows, what it is sent, and how it leaves the terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

from tests.support.program import DEADLINE_SECONDS, command, environment, kill_session, session_processes

_PIECE = re.compile(r"\033\[(\d+);1H|\033\[2J|\033\[\?1049([hl])|\033\[[0-9;?]*[A-Za-z]|\033\][^\a]*\a")
_SHELL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
child = os.fork()
if not child:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    for number in (signal.SIGTTOU, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
_, status = os.waitpid(child, 0)
os._exit(os.waitstatus_to_exitcode(status) & 255)
"""
"""What a shell does for a program on a terminal: a group of its own, in the foreground, which may be stopped."""

_ALONE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""What is done for a program that leads its session, as where a terminal runs it without a shell."""


class OnTerminal:
    """A program under way on a terminal that is read as it is written."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, slave: int) -> None:
        self.process = process
        self.settings = termios.tcgetattr(slave)
        """Of the terminal before the program began."""
        self.raw = ""
        """Everything that was written."""
        self._master = master
        self._slave = slave
        self._lines: dict[int, str] = {}
        self._row = 0
        self._done = 0

    @property
    def pid(self) -> int:
        """The process id of the program itself."""
        return next(pid for pid in sorted(session_processes(self.process.pid)) if pid != self.process.pid)

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal has its settings back, and shows what it showed before."""
        self.read()
        return termios.tcgetattr(self._slave) == self.settings and self.raw.count("\033[?1049h") == self.raw.count("\033[?1049l")

    def screen(self) -> str:
        """Return what is on the screen now, without styles."""
        self.read()
        whole = self.raw.rfind("\033[?2026l")
        for found in _PIECE.finditer(self.raw, self._done, max(whole, self._done)):
            following = _PIECE.search(self.raw, found.end())
            text = self.raw[found.end() : following.start() if following else len(self.raw)]
            if found[1]:
                self._row = int(found[1])
                self._lines[self._row] = text
            elif found[0] == "\033[2J":
                self._lines.clear()
            elif self._lines and found[0].endswith("m"):
                self._lines[self._row] += text
            self._done = found.end()
        return "\n".join(self._lines[row] for row in sorted(self._lines))

    def read(self) -> None:
        """Take what has been written since."""
        with contextlib.suppress(OSError):  # the other end is gone
            while select.select([self._master], [], [], 0)[0]:
                self.raw += os.read(self._master, 1 << 16).decode("utf-8", "replace")

    def wait_for(self, condition: Callable[[str], Any], deadline: float = DEADLINE_SECONDS) -> str:
        """Return the screen as soon as it fulfils the condition; AssertionError when it doesn't in time."""
        end = time.monotonic() + deadline
        while True:
            screen = self.screen()
            if condition(screen):
                return screen
            ended = self.process.poll() is not None and screen == self.screen()
            assert not ended, f"it has ended with {self.process.returncode}:\n{self.raw[-3000:]}"
            assert time.monotonic() < end, f"not on the screen within {deadline:g} s:\n{screen}"
            select.select([self._master], [], [], 0.05)

    def press(self, keys: str) -> None:
        """Send what the terminal sends for keys."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, of which the kernel tells the program."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def hang_up(self) -> None:
        """Let the terminal go away, as when a connection is lost."""
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def close(self) -> None:
        """Close what is left of it."""
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)


@contextlib.contextmanager
def on_terminal(
    *words: str, cwd: Path, size: tuple[int, int] = (120, 40), term: str = "xterm-256color", alone: bool = False, **more: str
) -> Iterator[OnTerminal]:
    """Run `sqmon` with these words on a terminal of this many columns and lines; nothing of it is left at the end.

    It runs as below a shell, or `alone`, so that it is what the kernel tells that the terminal has gone.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    first, *others = command(*words)
    with subprocess.Popen(
        [first, "-c", _ALONE if alone else _SHELL, first, *others],
        cwd=cwd,
        env={**environment(TERM=term, LC_ALL="C.UTF-8"), **more},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        terminal = OnTerminal(process, master, slave)
        try:
            yield terminal
        finally:
            kill_session(process.pid)
            terminal.close()


def exit_code(terminal: OnTerminal, deadline: float = DEADLINE_SECONDS) -> Optional[int]:
    """Return the exit code as soon as the program has ended; what it writes is read meanwhile."""
    end = time.monotonic() + deadline
    while terminal.process.poll() is None:
        assert time.monotonic() < end, "it does not end"
        terminal.read()
        select.select([], [], [], 0.02)
    return terminal.process.returncode
