"""Texts of a report: SQL, and the names of locked objects."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional

from sqmon.delivery.report.html import Html, element
from sqmon.lifetimes.lines import Line

_BRIEF = 100
_UNFOLDED = 150  # characters of SQL


class Sql(NamedTuple):
    """How SQL text is shown: what --sql leaves of it, and how much of that."""

    rewrite: Callable[[str], Optional[str]]
    most: int

    def brief(self, text: object) -> str:
        """Return the beginning on one line."""
        said = " ".join(self._said(text).split())
        return said if len(said) <= _BRIEF else f"{said[: _BRIEF - 1]}…"

    def whole(self, text: object) -> Html:
        """Return the text, folded up when it is long."""
        said = self._said(text).strip()
        brief = " ".join(said.split())
        if len(brief) <= _UNFOLDED:
            return element("code", brief)
        shown = said if len(said) <= self.most else f"{said[: self.most]}… ({len(said) - self.most:,} more characters)"
        return element("details", element("summary", element("code", f"{brief[:_UNFOLDED]}…")), element("pre", shown))

    def _said(self, text: object) -> str:
        return self.rewrite(str(text)) or "" if text else ""


def weight(lock: Line) -> tuple[bool, bool]:
    """Return what puts the locks first that others are likely to wait for."""
    return lock.get("lock_mode") != "Exclusive", not str(lock.get("locked_object")).startswith("table$")


def object_name(lock: Line) -> str:
    """Return a locked object as people call it."""
    name = str(lock.get("locked_object") or "")
    kind, *path = name.split("$")
    if kind == "table" and path[2:]:
        return f"{'.'.join(path[1:-1])} ({path[-1].lower()})"
    return f"{kind} {'.'.join(path)}".strip()
