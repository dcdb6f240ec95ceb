"""Frames: whatever the moment, the state and the size, a frame has exactly the size and nothing that a terminal would obey."""

from __future__ import annotations

import string
from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqmon.top.frame import FROZEN, LIVE, PAST, frame, printed, scene_of, too_small
from sqmon.top.lines import MANY, MONOCHROME, SIXTEEN, UNSTYLED, Line, Span, line, painted, palette_of, width_of
from sqmon.top.moment import Known, Moment
from sqmon.top.state import Shown, State, pressed
from sqmon.top.views import VIEWS
from tests.lifetimes.site import NOON_NS, lock
from tests.top.moments import LICENCE, known, moment, node, poll, runs

TEXTS = st.text(max_size=60) | st.sampled_from(
    ["select 1", "delete from t where x = 1", "update t set x = 1", "\x1b[31mred\x07", "日本語 " * 9, "a\nb\tc", "é\u202e\u0301x", ""]
)
STATUSES = st.sampled_from(["Executing", "Preparing", "In queue", "In Queue", "Stopping", "", "x\x1b[2J"])
AGES = st.none() | st.integers(-100, 10**7)
KEYS = st.sampled_from(
    [*"123456jkgGsS/?tyq<> ", "up", "down", "pageup", "pagedown", "home", "end", "enter", "escape", "tab", "backtab", "backspace", "clear"]
) | st.sampled_from(string.ascii_letters)


@st.composite
def moments(draw: st.DrawFn) -> Moment:
    """Moments with statements, locks, workers and a licence of any kind."""
    numbers = draw(st.lists(st.integers(0, 12), max_size=12, unique=True))
    statements = [
        {
            **runs(number, draw(TEXTS), status=draw(STATUSES)),
            "statement_age_s": draw(AGES),
            "status_age_s": draw(AGES),
            "user_name": draw(TEXTS),
        }
        for number in numbers
    ]
    objects = st.sampled_from(["table$master$public$t$Update", "globalpermission$", "database$master", "odd", "", "$$\x1b"])
    locks = [
        {**lock(number, draw(objects)), "lock_age_s": draw(AGES), "username": draw(TEXTS)}
        for number in draw(st.lists(st.integers(0, 12), max_size=12))
    ]
    nodes = [node(draw(TEXTS), draw(st.integers(0, 1000))) for _ in range(draw(st.integers(0, 3)))]
    licence = {**LICENCE, "size_used_ratio": draw(st.none() | st.floats(0, 3)), "expiration_date": draw(TEXTS)}
    events = [{"ts": "2026-11-24T12:00:05.000000000Z", "level": "error", "event": "gap", "reason": draw(TEXTS)}]
    failing = {"show_conf": Known(None, None, draw(TEXTS))}
    return moment(
        draw(st.integers(10, 500)),
        statements=statements,
        locks=locks,
        nodes=nodes,
        licence=licence,
        metrics=failing,
        events=events,
        absence=draw(st.sampled_from(["", "the service was killed"])),
        problems=[draw(TEXTS)],
    )


@settings(max_examples=40, deadline=None)
@given(moments(), st.lists(KEYS, max_size=12), st.integers(80, 220), st.integers(24, 70), st.sampled_from([LIVE, FROZEN, PAST]))
def test_frames_have_exactly_the_size_of_the_terminal(of: Moment, keys: list[str], width: int, height: int, mode: str) -> None:
    """After any keys, every line is as wide as the terminal, there are as many as fit, and nothing in them is a control character."""
    scene, state, shown = scene_of(of), State(), Shown()
    for key in (None, *keys):
        state = pressed(state, key, shown) if key is not None else state
        lines, shown = frame(scene, state, width, height, mode=mode)
        state = state._replace(first=shown.first)

        assert [width] * height == [each.width for each in lines]
        assert all(each.text.isprintable() for each in lines)
        assert all("\x1b" not in painted(each, UNSTYLED) for each in lines)


@settings(max_examples=30, deadline=None)
@given(moments(), st.integers(0, len(VIEWS) - 1), st.none() | st.integers(1, 300))
def test_printed_frames_have_every_row(of: Moment, view: int, width: Optional[int]) -> None:
    """What is printed has a line for every row, cut at the width where there is one, and nothing that a terminal would obey."""
    scene = scene_of(of)
    lines = printed(scene, State(view=view), width, mode=LIVE)

    assert len(lines) >= len(scene.tables[view].rows())
    assert all(each.text.isprintable() for each in lines)
    assert width is None or {width} == {each.width for each in lines}


@given(st.integers(1, 79), st.integers(1, 60))
def test_small_terminals_get_one_line(width: int, height: int) -> None:
    """Where a frame has no room, one line says how much it needs."""
    lines = too_small(width, height)

    assert height == len(lines)
    assert {width} == {each.width for each in lines}
    assert "".join(each.text for each in too_small(70, 3)).startswith("sqmon top needs 80x24, this terminal has 70x3")


def shown(of: Moment, state: State = State(), width: int = 100, mode: str = LIVE) -> str:  # noqa: B008 - it is a value
    """Return the text of a frame."""
    return "\n".join(each.text for each in frame(scene_of(of), state, width, 24, mode=mode)[0])


def test_header_says_cluster_time_and_the_monitors_health() -> None:
    """Every frame begins with the cluster, the time of the data, whether that is now, and how the monitor is."""
    head = shown(moment()).splitlines()[0]

    assert "sqmon top  prod  2026-11-24 12:00:10" in head
    assert "live" in head
    assert head.endswith("2 metrics are well")
    assert "past" in shown(moment(), mode=PAST).splitlines()[0]
    assert "2026-11-24 12:00:12" in shown(moment(), mode=PAST)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (moment(absence="the service was stopped"), "blind since 12:00:11: the service was stopped"),
        (moment(60), "data is 49 s old"),
        (
            moment(metrics={name: known(poll(name, 8, []), "Login failure: no") for name in ("show_locks", "show_server_status")}),
            "blind since 12:00:08: Login failure: no",
        ),
        (
            moment(metrics={"show_locks": known(poll("show_locks", 8, []), "timeout: slow")}),
            "show_locks failing since 12:00:08: timeout: slow",
        ),
        (moment(30, metrics={"show_locks": known(poll("show_locks", 8, []))}), "show_locks is 21 s old"),
        (Moment(NOON_NS, "prod", {}), "nothing is known of this time"),
    ],
)
def test_header_says_when_the_monitor_is_blind(of: Moment, expected: str) -> None:
    """A monitor that has stopped, fails or is late never looks like one that sees nothing."""
    assert expected in " ".join(shown(of).splitlines()[:2])


def test_long_trouble_has_a_line_of_its_own() -> None:
    """What has no room beside the time is told in full below it, in a narrow terminal too."""
    trouble = "Login failure: the role is locked, ask an administrator"
    of = moment(metrics={name: known(poll(name, 8, []), trouble) for name in ("show_locks", "show_server_status")})

    assert shown(of, width=80).splitlines()[1].startswith(f"blind since 12:00:08: {trouble}")


def test_narrow_terminals_leave_out_what_says_least() -> None:
    """In 80 columns a statement keeps its number, user, age and text; in 200 it has everything."""
    now = moment(statements=[runs(4711, "select * from a_table_with_a_long_name", age=4000, user_name="maintenance_user")])
    narrow, wide = shown(now, State(view=1), width=80), shown(now, State(view=1), width=200)

    assert all(text in narrow for text in ("4711", "maintenance_user", "1 h 6 min", "select * fr"))
    assert "in status" not in narrow
    assert all(text in wide for text in ("service", "worker", "in status", "select * from a_table_with_a_long_name"))


def test_marks_say_without_colour_what_colours_say() -> None:
    """What deserves a look has a mark before it, so that nobody depends on colours."""
    now = moment(statements=[runs(1, age=4000), runs(2, age=20000), runs(3)])
    rows = [each for each in shown(now, State(view=1)).splitlines() if "Executing" in each]

    assert ["!! ", "!  ", "   "] == [row[:3] for row in rows]


def test_opened_row_stays_until_it_is_closed() -> None:
    """The detail of a statement that has ended is what was seen of it last, and says so."""
    now, later = moment(statements=[runs(7, "select 7")]), moment(statements=[])
    state = State(view=1, opened="statement 7")
    row = scene_of(now).tables[1].rows()[0]
    assert row.detail is not None

    lines, _ = frame(scene_of(later), state, 100, 24, mode=LIVE, kept=row.detail())
    assert "no longer there" in "".join(each.text for each in lines)
    assert "select 7" in "".join(each.text for each in lines)
    assert "statement 7 is not there at this time" in shown(later, state)


@given(st.text())
def test_texts_of_others_are_made_printable(text: str) -> None:
    """No text gets a control character into a line, and the width of a line is what a terminal needs for it."""
    whole = line("a", Span(text), "b")

    assert whole.text.isprintable()
    assert width_of(whole.text) == whole.width


def test_palettes_follow_the_environment() -> None:
    """Colours are for terminals whose user has not refused them; elsewhere there is not one escape sequence."""
    assert UNSTYLED == palette_of({"TERM": "xterm-256color"}, terminal=False)
    assert UNSTYLED == palette_of({"TERM": "dumb"}, terminal=True)
    assert MONOCHROME == palette_of({"TERM": "xterm-256color", "NO_COLOR": "1"}, terminal=True)
    assert MANY == palette_of({"TERM": "tmux-256color"}, terminal=True)
    assert SIXTEEN == palette_of({"TERM": "linux"}, terminal=True)
    assert not any(code.startswith(("3", "4", "9")) for code in MONOCHROME.values() if not code.startswith("4;"))
    assert "\x1b[7;1mx\x1b[0m" == painted(Line((Span("x", "bold"),), selected=True), MONOCHROME)
