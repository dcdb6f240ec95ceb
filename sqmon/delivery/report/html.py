"""The making of HTML and SVG: every text is escaped, and what is not printable is shown as an escape."""

from __future__ import annotations

import html
from typing import Union


class Html(str):
    """Text that is HTML already; everything else is escaped where it is used."""

    __slots__ = ()


Content = Union[str, int, float, None]

_VOID = frozenset({"meta", "br"})
_KEPT = "\n\t"


def escaped(text: str) -> Html:
    """Return a text as HTML that shows it, on as many lines as it has, and does nothing else."""
    if not text.isprintable():
        text = "".join(each if each.isprintable() or each in _KEPT else ascii(each)[1:-1] for each in text)
    return Html(html.escape(text))


def element(name: str, /, *content: Content, **attributes: Content) -> Html:
    """Return an element; content that is not Html is escaped, None is left out.

    An attribute's `_` at the end is dropped and others become `-`, so that `class_` and `stroke_width` can be written; None leaves one out.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(_text(value))}"' for key, value in attributes.items() if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{joined(*content)}</{name}>")


def joined(*content: Content) -> Html:
    """Return the contents one after the other."""
    return Html("".join(each if isinstance(each, Html) else escaped(_text(each)) for each in content if each is not None))


def _text(value: Content) -> str:
    return f"{value:.1f}".replace(".0", "") if isinstance(value, float) else str(value)
