"""Lines of a terminal: pieces of text, each with a style, cut and padded by the width that they take on the screen."""

from __future__ import annotations

from typing import Iterable, Mapping, NamedTuple, Optional

from rich.cells import cell_len, set_cell_size

from sqmon.errors import shown

DIM, BOLD, GOOD, WARNING, CRITICAL, HEADING, TITLE = "dim", "bold", "good", "warning", "critical", "heading", "title"
CUT = "…"

_STRONG = (BOLD, WARNING, CRITICAL)


class _Span(NamedTuple):
    text: str
    style: str = ""


class Span(_Span):
    """A piece of text from anywhere, and the name of its style: a terminal's control characters in it become escapes that can be read."""

    __slots__ = ()

    def __new__(cls, text: str, style: str = "") -> Span:
        """Make the text printable."""
        return super().__new__(cls, shown(text), style)


class Line(NamedTuple):
    """The spans of one line; a selected line is shown reversed."""

    spans: tuple[Span, ...] = ()
    selected: bool = False

    @property
    def text(self) -> str:
        """The line without its styles."""
        return "".join(span.text for span in self.spans)

    @property
    def width(self) -> int:
        """How many columns of the screen it takes."""
        return sum(width_of(span.text) for span in self.spans)


def width_of(text: str) -> int:
    """Return how many columns of the screen a printable text takes."""
    return len(text) if text.isascii() else cell_len(text)


def line(*parts: object) -> Line:
    """Return a line of spans and texts."""
    return Line(tuple(part if isinstance(part, Span) else Span(str(part)) for part in parts))


def cut(text: str, width: int) -> str:
    """Return a printable text with at most this width; one that is cut ends with an ellipsis."""
    if width_of(text) <= width:
        return text
    return set_cell_size(text, width - 1) + CUT if width > 0 else ""


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return a printable text with exactly this width."""
    text = cut(text, width)
    blanks = " " * (width - width_of(text))
    return blanks + text if right else text + blanks


def fitted(whole: Line, width: Optional[int]) -> Line:
    """Return the line with exactly this width; None leaves it as it is."""
    if width is None:
        return whole
    left, spans = width, []
    for number, (text, style) in enumerate(whole.spans):
        size = width_of(text)
        more = number + 1 < len(whole.spans)
        if size > left or (size == left and more and any(span.text.strip() for span in whole.spans[number + 1 :])):
            spans.append(Span(padded(cut(text, left - 1) + CUT if size == left else cut(text, left), left), style))
            left = 0
            break
        spans.append(Span(text, style))
        left -= size
    if left:
        spans.append(Span(" " * left))
    return whole._replace(spans=tuple(spans))


def ends(left: Line, right: Line, width: Optional[int]) -> Line:
    """Return a line with something at either end; what is at the right end gives way."""
    if width is None:
        return Line((*left.spans, Span("  "), *right.spans))
    room = max(0, width - left.width - 2)
    right = fitted(right, room) if right.width > room else right
    blanks = max(0, width - left.width - right.width)
    return fitted(Line((*left.spans, Span(" " * blanks), *right.spans)), width)


def wrapped(text: str, width: int, style: str = "") -> list[Line]:
    """Return a text of many lines as lines of at most this width, broken between words where that is possible."""
    lines: list[Line] = []
    for part in text.expandtabs(4).splitlines() or [""]:
        rest = shown(part)
        while width_of(rest) > width:
            head = set_cell_size(rest, width).rstrip() if width_of(rest[:width]) > width else rest[:width]
            place = head.rfind(" ")
            head = head[:place] if place > width // 2 else head
            lines.append(Line((Span(head, style),)))
            rest = rest[len(head) :].lstrip(" ")
        lines.append(Line((Span(rest, style),)))
    return lines


Palette = Mapping[str, str]
"""The parameters of the terminal's escape sequence for each style."""

UNSTYLED: Palette = {}
MONOCHROME: Palette = {
    DIM: "2",
    BOLD: "1",
    WARNING: "1",
    CRITICAL: "1;4",
    HEADING: "1",
    TITLE: "1",
}
SIXTEEN: Palette = {**MONOCHROME, GOOD: "32", WARNING: "1;35", CRITICAL: "1;31", HEADING: "36", TITLE: "1;36"}
MANY: Palette = {
    **MONOCHROME,
    # These can be read on black and on white.
    DIM: "38;5;244",
    GOOD: "38;5;28",
    WARNING: "38;5;166",
    CRITICAL: "1;38;5;160",
    HEADING: "38;5;31",
    TITLE: "1;38;5;31",
}


def painted(whole: Line, palette: Palette) -> str:
    """Return the line as a terminal takes it."""
    if not palette:
        return whole.text.rstrip()
    out = []
    for text, style in whole.spans:
        # Reversed colours would be patches; marks say what they say.
        code = palette.get(style, "") if not whole.selected else "7;1" if style in _STRONG else "7"
        out.append(f"\033[{code}m{text}\033[0m" if code else text)
    return "".join(out)


def palette_of(environ: Mapping[str, str], *, terminal: bool) -> Palette:
    """Return the palette that the environment asks for; elsewhere than on a terminal there are no styles."""
    term = environ.get("TERM", "")
    if not terminal or term in ("", "dumb"):
        return UNSTYLED
    if environ.get("NO_COLOR"):
        return MONOCHROME
    return MANY if "256" in term or "direct" in term or environ.get("COLORTERM") in ("truecolor", "24bit") else SIXTEEN


def joined(parts: Iterable[str]) -> str:
    """Return the parts that say something, one after the other."""
    return ", ".join(part for part in parts if part)
