"""Keys: what a terminal sends when one is pressed, by name."""

from __future__ import annotations

import codecs
import re

_ESCAPE = "\033"
_SEQUENCE = re.compile(r"\033(?:\[[0-?]*[ -/]*[@-~]|O[@-~])")
_BEGINNING = re.compile(r"\033(?:\[[0-?]*[ -/]*|O)?")
_NAMES = {
    **{f"\033{kind}{letter}": name for kind in "[O" for letter, name in zip("ABCDHF", ("up", "down", "right", "left", "home", "end"))},
    "\033[1~": "home",
    "\033[7~": "home",
    "\033[4~": "end",
    "\033[8~": "end",
    "\033[5~": "pageup",
    "\033[6~": "pagedown",
    "\033[3~": "delete",
    "\033[Z": "backtab",
}
_CONTROLS = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x03": "quit",
    "\x04": "quit",
    "\x06": "pagedown",
    "\x02": "pageup",
    "\x0c": "redraw",
    "\x15": "clear",
}


class Keys:
    """Makes names of keys of the bytes that a terminal sends, which may come in any pieces."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text = ""

    @property
    def waits(self) -> bool:
        """Whether an escape may be the beginning of a sequence; a terminal sends the rest of one at once."""
        return bool(self._text)

    def fed(self, data: bytes) -> list[str]:
        """Return the keys that have become whole: a character stands for itself, unknown sequences are left out."""
        self._text += self._decode(data)
        keys = []
        while self._text:
            if self._text[0] != _ESCAPE:
                first, self._text = self._text[0], self._text[1:]
                key = _CONTROLS.get(first, first if first.isprintable() else "")
            elif _BEGINNING.fullmatch(self._text):
                break
            else:
                found = _SEQUENCE.match(self._text)
                # An escape before anything else is that key, and what follows it another one.
                size = found.end() if found else 1
                key = _NAMES.get(self._text[:size], "") if found else "escape"
                self._text = self._text[size:]
            keys += [key] if key else []
        return keys

    def over(self) -> list[str]:
        """Return the key that the escape was, since nothing has followed."""
        alone, self._text = self._text == _ESCAPE, ""
        return ["escape"] if alone else []
