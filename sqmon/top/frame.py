"""A frame: everything that the terminal shows of a moment, as lines."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence

from sqmon.top.lines import BOLD, DIM, GOOD, HEADING, TITLE, WARNING, Line, Span, ends, fitted, line, width_of, wrapped
from sqmon.top.moment import Health, Moment, local
from sqmon.top.picture import Picture
from sqmon.top.state import FILTER, Shown, State
from sqmon.top.table import GUTTER, Detail, Level, Row, Table, laid_out
from sqmon.top.views import VIEWS

LEAST_WIDTH, LEAST_HEIGHT = 80, 24
"""The smallest terminal that frames fit into."""

LIVE, FROZEN, PAST = "live", "frozen", "past"
"""How the time that is shown relates to the present."""

_AFTER = 3  # lines

KEYS = (
    ("↑↓", "move", 5),
    ("enter", "open", 1),
    ("/", "filter", 2),
    ("s", "sort", 3),
    ("< >", "poll", 2),
    ("t", "time", 6),
    ("space", "freeze", 3),
    ("end", "now", 4),
    ("y", "copy id", 7),
    ("?", "help", 0),
    ("q", "quit", 0),
)
"""What each key does, and its rank: where there is no room for all, those with the highest are left out."""
_KEYS_OF_HELP = (("↑↓", "scroll", 0), ("esc", "back", 0))
_KEYS_OF_DETAIL = (*_KEYS_OF_HELP, ("y", "copy id", 0), ("< >", "poll", 0), ("space", "freeze", 0))
_HELP = """\
1 to 6, tab     the views, in the order in which SQream looks for what is slow
arrows, j k     move; also page up and down, home, g and G
enter           everything about a row: the whole statement, its locks, whom
                it waits for and whom it blocks; escape goes back
/               filter by words of user, service, object, text, worker or id;
                escape ends it
s  S            sort by the next column; turn the order round
<  >            one poll of the view back or forth, as the arrows left and right
t               go to a time: 03:12, yesterday 02:00, 2026-11-24T02:00, -15m
space           freeze, and continue with the present
end             back to the present
y               copy the id of the row, where the terminal allows that (OSC 52)
ctrl-l          draw everything again
q               quit

!  deserves a look, !! somebody who acts, by the thresholds of the alerts.
Ages are those of the time of the poll. Who waits for whom is inferred:
SQreamDB lists locks that were obtained, not requests.
"""


class Scene(NamedTuple):
    """A moment with everything that follows from it, made once for all frames that show it."""

    picture: Picture
    tables: Sequence[Table]
    """By view."""

    @property
    def moment(self) -> Moment:
        """The moment."""
        return self.picture.moment


def scene_of(moment: Moment) -> Scene:
    """Return the scene of a moment."""
    picture = Picture(moment)
    return Scene(picture, [view.table(picture) for view in VIEWS])


def table_of(scene: Scene, state: State) -> Table:
    """Return the table of the view as the state wants it: filtered and sorted."""
    return scene.tables[state.view].filtered(state.filter).ordered(state.order.column, reverse=state.order.reverse)


def too_small(width: int, height: int) -> list[Line]:
    """Return what is shown where a frame has no room."""
    text = line(f"sqmon top needs {LEAST_WIDTH}x{LEAST_HEIGHT}, this terminal has {width}x{height}")
    return [fitted(text, width), *[fitted(Line(), width)] * (height - 1)][:height]


def frame(scene: Scene, state: State, width: int, height: int, *, mode: str, kept: Optional[Detail] = None) -> tuple[list[Line], Shown]:
    """Return the lines of a frame, exactly as many and as long as the terminal has room for, and what keys need to know of it.

    `kept` is the detail of the opened row from when it was last there.
    """
    top = _top(scene, state, width, mode)
    room = height - len(top) - 1
    if state.help or state.opened:
        lines = _help(width) if state.help else _opened(scene, state, width, kept)
        first = min(state.first, max(0, len(lines) - room))
        body, shown = lines[first : first + room], Shown(page=room, first=first, lines=len(lines))
    else:
        body, shown = _body(scene, state, width, room)
    lines = [*top, *body, *[Line()] * (room - len(body)), _footer(state, shown, width)]
    return [fitted(each, width) for each in lines], shown


def printed(scene: Scene, state: State, width: Optional[int], *, mode: str) -> list[Line]:
    """Return a frame that is printed rather than looked at: with all rows, and as wide as it is where there is no width."""
    table = table_of(scene, state)
    line_of = laid_out(table, width, sorted_by=state.order.column, reverse=state.order.reverse)
    rows = table.rows()
    body = [line_of(None), *map(line_of, rows)] if rows else [line(table.empty)]
    return [fitted(each, width) for each in (*_top(scene, state, width, mode), *table.notes, *body, *table.after)]


def _top(scene: Scene, state: State, width: Optional[int], mode: str) -> list[Line]:
    moment, health = scene.moment, scene.moment.health()
    then = local(_shown_ns(moment, state, mode))
    left = line(
        Span("sqmon top", TITLE),
        f"  {moment.cluster}  " if moment.cluster else "  ",
        Span(f"{then:%Y-%m-%d %H:%M:%S %Z}", BOLD),
        "  ",
        Span(mode, GOOD if mode == LIVE and health.level is Level.FINE else WARNING),
    )
    said = line(_health(health))
    fits = width is None or left.width + 2 + said.width <= width
    head = ends(left, said if fits else line(), width)
    return [head, *([] if fits else [said]), _tabs(scene, state, width), *_notes(scene, state)]


def _health(health: Health) -> Span:
    return Span(health.text, health.level.style or GOOD)


def _shown_ns(moment: Moment, state: State, mode: str) -> int:
    """The time that the header shows: of what is live, that of the data."""
    polls = [moment.poll(metric) for metric in VIEWS[state.view].metrics or moment.metrics]
    ended = max((poll.ended_ns for poll in polls if poll is not None), default=moment.at_ns)
    return ended if mode == LIVE else moment.at_ns


def _tabs(scene: Scene, state: State, width: Optional[int]) -> Line:
    tabs = _tabs_named(scene, state, [view.name for view in VIEWS])
    return tabs if width is None or tabs.width <= width else _tabs_named(scene, state, [view.short for view in VIEWS])


def _tabs_named(scene: Scene, state: State, names: Sequence[str]) -> Line:
    spans = []
    for number, (view, name) in enumerate(zip(VIEWS, names)):
        badge, level, chosen = view.badge(scene.picture), view.level(scene.picture, scene.tables[number]), number == state.view
        spans.append(Span(f"{'[' if chosen else ' '}{number + 1} {name}", TITLE if chosen else HEADING))
        spans += [Span(f" {badge}", level.style or BOLD)] if badge else []
        spans += [Span(level.mark, level.style)] if level else []
        spans.append(Span("]" if chosen else " ", TITLE))
    return Line(tuple(spans))


def _notes(scene: Scene, state: State) -> list[Line]:
    if not state.filter or state.help or state.opened:
        return []
    whole, left = scene.tables[state.view], table_of(scene, state)
    return [line(Span("filter ", DIM), Span(state.filter, WARNING), Span(f"  {len(left.rows())} of {len(whole.rows())}", DIM))]


def _body(scene: Scene, state: State, width: int, room: int) -> tuple[list[Line], Shown]:
    table = table_of(scene, state)
    rows = table.rows()
    if not rows:
        empty = "Nothing matches the filter." if state.filter and scene.tables[state.view].groups else table.empty
        return [*table.notes, Line(), line(Span(" " * GUTTER), Span(empty, DIM)), Line(), *table.after][:room], Shown(page=room)
    keys = [row.key for row in rows]
    line_of = laid_out(table, width, sorted_by=state.order.column, reverse=state.order.reverse)
    page = max(1, room - len(table.notes) - 1)
    if len(rows) > page - len(table.after) and len(table.after) < _AFTER:
        page -= len(table.after)  # a few lines below the rows stay in sight
    first = _first(keys, state, page)
    body = [*table.notes, line_of(None), *(_selected(line_of(row), row, state) for row in rows[first : first + page])]
    body += [*([Line()] if len(body) + len(table.after) < room else []), *table.after]
    return body[:room], Shown(keys, page, first, len(table.columns))


def _first(keys: Sequence[str], state: State, page: int) -> int:
    """The place of the first row in sight, so that the selected one is."""
    first = min(state.first, max(0, len(keys) - page))
    if state.selected in keys:
        place = keys.index(state.selected)
        first = min(max(first, place - page + 1), place)
    return first


def _selected(whole: Line, row: Row, state: State) -> Line:
    return whole._replace(selected=row.key == state.selected)


def _opened(scene: Scene, state: State, width: int, kept: Optional[Detail]) -> list[Line]:
    found = detail_of(scene, state)
    detail = found or kept
    if detail is None:
        return [Line(), line(Span(" " * GUTTER), Span(f"{state.opened} is not there at this time.", DIM))]
    lines = [line(Span(detail.title, TITLE), Span("" if found else "  (no longer there; this is how it was seen last)", WARNING))]
    widest = max((width_of(fact.name) for fact in detail.facts), default=0)
    lines += [line(Span(f"  {fact.name:{widest}}  ", DIM), Span(fact.cell.text, fact.cell.level.style)) for fact in detail.facts]
    if detail.text:
        lines += [Line(), *(Line((Span("  "), *part.spans)) for part in wrapped(detail.text, width - 4))]
    for heading, parts in detail.lists:
        lines += [Line(), line(Span(f"  {heading}", HEADING)), *(Line((Span("    "), *part.spans)) for part in parts)]
    return lines


def detail_of(scene: Scene, state: State) -> Optional[Detail]:
    """Return the detail of the row that is opened, None when there is no such row."""
    for row in scene.tables[state.view].rows():
        if row.key == state.opened and row.detail is not None:
            return row.detail()
    return None


def _help(width: int) -> list[Line]:
    return [part for text in _HELP.splitlines() for part in wrapped(text, width)]


def _footer(state: State, shown: Shown, width: int) -> Line:
    if state.typing:
        asked = "filter by user, service, object, text: " if state.typing == FILTER else "go to (03:12, yesterday 02:00, -15m): "
        return line(Span(asked, HEADING), state.typed, Span("▏", BOLD))
    if state.message:
        return line(Span(state.message, WARNING))
    keys: Sequence[tuple[str, str, int]] = KEYS
    if state.help or state.opened:
        keys = _KEYS_OF_HELP if state.help else _KEYS_OF_DETAIL
        place = f"{min(shown.lines, shown.first + shown.page)}/{shown.lines}" if shown.lines > shown.page else ""
    else:
        seen = shown.keys.index(state.selected) + 1 if state.selected in shown.keys else 0
        place = f"{seen or shown.first + 1}/{len(shown.keys)}" if shown.keys else ""
    for rank in range(max(rank for _, _, rank in keys), -1, -1):
        spans = [each for key, does, kept in keys if kept <= rank for each in (Span(key, BOLD), Span(f" {does}  ", DIM))]
        if sum(width_of(each.text) for each in spans) + 2 + len(place) <= width:
            break
    return ends(Line(tuple(spans)), line(Span(place, DIM)), width)
