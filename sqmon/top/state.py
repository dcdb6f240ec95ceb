"""The state of the view, and what each key makes of it."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Sequence

from sqmon.top.views import VIEWS

FILTER, TIME = "filter", "time"
"""What can be typed."""

_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1}
_WISHES = {
    "<": "earlier",
    ",": "earlier",
    "left": "earlier",
    ">": "later",
    ".": "later",
    "right": "later",
    " ": "freeze",
    "end": "now",
    "y": "copy",
    "q": "quit",
    "quit": "quit",
    "redraw": "redraw",
}


class Order(NamedTuple):
    """How the rows of a view are sorted."""

    column: Optional[int] = None
    """None is the order of the view itself."""
    reverse: bool = False


class Shown(NamedTuple):
    """What a frame shows, as far as keys depend on it."""

    keys: Sequence[str] = ()
    """Of the rows, in their order, those that are out of sight among them."""
    page: int = 10
    """How many rows there is room for."""
    first: int = 0
    """The place of the first row, or line, in sight."""
    columns: int = 0
    """How many the view has."""
    lines: int = 0
    """How many lines there are to scroll through."""


class State(NamedTuple):
    """What is looked at, and how."""

    view: int = 0
    orders: Mapping[int, Order] = {}
    """By view."""
    filter: str = ""
    typing: str = ""
    """What is being typed: FILTER, TIME, or nothing."""
    typed: str = ""
    selected: str = ""
    """The key of the row."""
    opened: str = ""
    """The key of the row whose detail is shown."""
    help: bool = False
    first: int = 0
    """The place of the first row, or line, in sight."""
    message: str = ""
    """What is said until the next key."""
    wish: str = ""
    """What the state alone can't do: earlier, later, freeze, now, go, copy, redraw or quit."""

    @property
    def order(self) -> Order:
        """How the rows of the view are sorted."""
        return self.orders.get(self.view, Order())


def pressed(state: State, key: str, shown: Shown) -> State:
    """Return the state after a key."""
    state = state._replace(message="", wish="")
    if key in ("quit", "redraw"):
        return state._replace(wish=key)
    if state.typing:
        return _typed(state, key)
    if state.help or state.opened:
        read = _scrolled(state, key, shown) or _closed(state, key)
        if read is not None:
            return read
    if key in _WISHES:
        return state._replace(wish=_WISHES[key])
    return _moved(state, key, shown) or _changed(state, key, shown)


def _closed(state: State, key: str) -> Optional[State]:
    if key not in ("escape", "enter", "?", "backspace", "q"):
        return None
    return state._replace(help=False, first=0) if state.help else state._replace(opened="", first=0)


def _typed(state: State, key: str) -> State:
    if key == "enter":
        done = state._replace(typing="", typed="")
        if state.typing == FILTER:
            return done._replace(filter=state.typed.strip())
        return done._replace(wish="go", message=state.typed.strip()) if state.typed.strip() else done
    if key == "escape":
        return state._replace(typing="", typed="", filter="" if state.typing == FILTER else state.filter)
    if key == "backspace":
        typed = state.typed[:-1]
    elif key == "clear":
        typed = ""
    else:
        typed = state.typed + (key if len(key) == 1 else "")
    # The filter shows what it does while it is being typed.
    return state._replace(typed=typed, filter=typed.strip() if state.typing == FILTER else state.filter, first=0)


def _scrolled(state: State, key: str, shown: Shown) -> Optional[State]:
    last = max(0, shown.lines - shown.page)
    steps = {**_MOVES, "pageup": -shown.page, "pagedown": shown.page, "home": -shown.lines, "g": -shown.lines, "G": shown.lines}
    if key not in steps:
        return None
    return state._replace(first=min(max(0, state.first + steps[key]), last))


def _moved(state: State, key: str, shown: Shown) -> Optional[State]:
    steps = {**_MOVES, "pageup": -shown.page, "pagedown": shown.page, "home": -len(shown.keys), "g": -len(shown.keys), "G": len(shown.keys)}
    if key not in steps:
        return None
    if not shown.keys:
        return state
    place = shown.keys.index(state.selected) if state.selected in shown.keys else -1 if steps[key] > 0 else 0
    return state._replace(selected=shown.keys[min(max(0, place + steps[key]), len(shown.keys) - 1)])


def _changed(state: State, key: str, shown: Shown) -> State:
    if key.isdecimal() and 0 < int(key) <= len(VIEWS):
        return _looking(state, int(key) - 1)
    if key in ("tab", "backtab"):
        return _looking(state, (state.view + (1 if key == "tab" else -1)) % len(VIEWS))
    if key == "enter":
        selected = state.selected if state.selected in shown.keys else next(iter(shown.keys), "")
        return state._replace(selected=selected, opened=selected, first=0)
    if key in ("s", "S"):
        return state._replace(orders={**state.orders, state.view: _ordered(state.order, key, shown.columns)})
    change: Mapping[str, Any] = {"typing": FILTER, "typed": state.filter} if key == "/" else _SIMPLE.get(key, {})
    return state._replace(**change)


_SIMPLE: Mapping[str, Mapping[str, Any]] = {
    "escape": {"filter": ""},
    "?": {"help": True, "first": 0},
    "t": {"typing": TIME, "typed": ""},
}


def _ordered(order: Order, key: str, columns: int) -> Order:
    if key == "S":
        return order._replace(reverse=not order.reverse)
    following = 0 if order.column is None else order.column + 1
    return Order(following if following < columns else None)


def _looking(state: State, view: int) -> State:
    return state if view == state.view and not (state.opened or state.help) else state._replace(view=view, opened="", help=False, first=0)
