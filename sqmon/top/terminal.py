"""The terminal while it belongs to the view: raw keys in, changed lines out, and given back as it was whatever happens."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import signal
import termios
from types import FrameType, TracebackType
from typing import Mapping, Optional, Sequence

from sqmon.top.keys import Keys
from sqmon.top.lines import Line, Palette, painted

_ENTER = "\033[?1049h\033[?25l\033[?7l\033[2J"
_LEAVE = "\033[0m\033[?7h\033[?25h\033[?1049l"
_TOGETHER, _APART = "\033[?2026h", "\033[?2026l"  # a terminal that knows these shows all changes at once
_ESCAPE_SECONDS = 0.05
_READ = 4096
_USUAL_SIZE = 80, 24
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_HEARD = (*_ENDS, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


class Terminal:
    """A terminal in a context; signals only leave a note that `keys` acts on, so nothing is interrupted half-way."""

    def __init__(self, descriptor_in: int, descriptor_out: int, palette: Palette, encoding: str) -> None:
        self.ended = False
        """Whether a signal, or the terminal by going away, has asked for the end."""
        self._in = descriptor_in
        self._out = descriptor_out
        self._palette = palette
        self._encoding = encoding
        self._keys = Keys()
        self._drawn: list[str] = []
        self._noted: set[int] = set()
        self._before: Mapping[int, object] = {}
        self._settings = termios.tcgetattr(descriptor_in)
        self._wake_in, self._wake_out = -1, -1

    @property
    def size(self) -> tuple[int, int]:
        """The columns and lines that it has now, which some terminals don't know."""
        with contextlib.suppress(OSError):
            columns, lines = os.get_terminal_size(self._out)
            if columns and lines:
                return columns, lines
        return _USUAL_SIZE

    @property
    def is_blank(self) -> bool:
        """Whether nothing of what was drawn is there any more."""
        return not self._drawn

    def __enter__(self) -> Terminal:
        self._wake_in, self._wake_out = os.pipe()
        for descriptor in (self._wake_in, self._wake_out):
            os.set_blocking(descriptor, False)
        # The interpreter writes a byte here for each signal, so that a wait ends with one that comes just before it begins.
        self._wakeup_before = signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._note) for number in _HEARD}
        self._take()
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self._give_back()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._wake_in)
        os.close(self._wake_out)

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines, of which only those are sent that have changed."""
        texts = [painted(each, self._palette) for each in lines]
        if len(texts) != len(self._drawn):
            self._drawn = [""] * len(texts)
        changed = [f"\033[{place};1H{text}" for place, (text, drawn) in enumerate(zip(texts, self._drawn), 1) if text != drawn]
        if changed:
            self._drawn = texts
            self._write("".join((_TOGETHER, *changed, _APART)))

    def forget(self) -> None:
        """Draw everything again the next time."""
        self._drawn = []
        self._write("\033[2J")

    def copy(self, text: str) -> None:
        """Put a text into the clipboard of the user at the terminal (OSC 52); many terminals need to be allowed to."""
        self._write(f"\033]52;c;{base64.b64encode(text.encode()).decode()}\a")

    def keys(self, timeout: Optional[float]) -> list[str]:
        """Return the keys that are pressed within so many seconds; also returns, with none, after a signal."""
        if self._keys.waits:
            timeout = _ESCAPE_SECONDS
        readable = self._wait(timeout)
        self._act()
        if self._in not in readable:
            return self._keys.over() if self._keys.waits and not readable else []
        try:
            data = os.read(self._in, _READ)
        except InterruptedError:
            return []
        except OSError:
            data = b""
        self.ended = self.ended or not data  # the terminal has gone
        return self._keys.fed(data)

    def _wait(self, timeout: Optional[float]) -> list[int]:
        if self._noted:
            timeout = 0
        readable, _, _ = select.select([self._in, self._wake_in], [], [], timeout)
        if self._wake_in in readable:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._wake_in, _READ):
                    pass
        return readable

    def _note(self, number: int, _: Optional[FrameType]) -> None:
        self._noted.add(number)

    def _act(self) -> None:
        noted, self._noted = self._noted, set()
        self.ended = self.ended or not noted.isdisjoint(_ENDS)
        if self.ended:
            return
        if signal.SIGTSTP in noted:
            self._give_back()
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)  # returns when somebody continues us
            signal.signal(signal.SIGTSTP, self._note)
            self._noted.discard(signal.SIGCONT)
            self._take()
        elif signal.SIGCONT in noted:  # somebody else has stopped us, and the shell has had the terminal since
            self._take()
        if signal.SIGWINCH in noted:
            self.forget()

    def _take(self) -> None:
        """Make the terminal ours: keys one by one and without an echo; what ctrl-c and ctrl-z do stays."""
        try:
            settings = termios.tcgetattr(self._in)
            settings[0] &= ~(termios.ICRNL | termios.IXON)
            settings[3] &= ~(termios.ICANON | termios.ECHO)
            settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._in, termios.TCSADRAIN, settings)
        except termios.error:
            self.ended = True  # the terminal has gone
        self._drawn = []
        self._write(_ENTER)

    def _give_back(self) -> None:
        with contextlib.suppress(OSError, termios.error):  # it may be gone
            self._write(_LEAVE)
            termios.tcsetattr(self._in, termios.TCSADRAIN, self._settings)

    def _write(self, text: str) -> None:
        data = text.encode(self._encoding, "replace")
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except OSError:
            self.ended = True  # the terminal has gone
