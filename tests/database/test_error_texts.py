"""Texts of servers, made fit for a line on a screen."""

from __future__ import annotations

import random
import time
import unicodedata

import pytest

from sqmon.database.error_texts import readable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2J\x1b[1;1Hall is well", "red all is well"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;cm0gLXJm\x07clipboard", "clipboard"),
        ("a\x1bP1$r0m\x1b\\b", "ab"),
        ("\x9b31mred\x9b0m \x9d0;title\x9call", "red all"),
        ("\x1b(0lines\x1b(B \x1bcreset \x1b7saved\x1b8", "lines reset saved"),
        ("\x1b[38;2;1;2;3;4mcolour\x1b[?25l hidden", "colour hidden"),
        ("one\r\ntwo\ttab\x0bthree\x85four\u2028five", "one two tab three four five"),
        ("be\x07ep\x08\x7f\x00", "beep"),
        ("\u202egnp.exe\u2066 \u200bzero", "gnp.exe zero"),
        ("\x1b]0;never ended", ""),
        ("\x1b", ""),
        ("\x1b[", ""),
        ("half \ud800 a pair \ud83d\ude00", "half \ufffd a pair \U0001f600"),
        ("Zürich 東京 \U0001f600 [31m", "Zürich 東京 \U0001f600 [31m"),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(text: str, shown: str) -> None:
    """Escape sequences of every form are removed, ended or not, and everything else stays."""
    assert readable(text) == shown


def test_nothing_is_obeyed_whatever_the_text() -> None:
    """Any text becomes one line of valid Unicode in which no character controls a terminal."""
    rng = random.Random(1)
    pieces = [*map(chr, range(0xA0)), "\x1b[", "\x1b]", "\x1bP", "\x1b\\", "\x9b", "\x9c", "0;1m", "\u202e", "\ud800", "\n"]
    for _ in range(3000):
        shown = readable("".join(rng.choice(pieces) for _ in range(rng.randrange(40))))

        assert shown == " ".join(shown.split())
        assert {unicodedata.category(character) for character in shown}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


@pytest.mark.parametrize("piece", ["x", "\x1b]", "\x1b[", "\x1bP", "\x9b1", "\x1b]a\x1b", "\x1b" + " " * 50])
def test_length_is_bounded_and_time_too(piece: str) -> None:
    """A text of megabytes is cut, and takes little time."""
    began = time.process_time()
    shown = readable(piece * 1_000_000)

    assert len(shown) <= 1003
    assert shown.endswith("...")
    assert time.process_time() - began < 1
