"""What the bytes of a terminal mean, and what each key does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sqmon.top.keys import Keys
from sqmon.top.state import FILTER, TIME, Order, Shown, State, pressed
from sqmon.top.views import VIEWS

SHOWN = Shown(keys=("a", "b", "c", "d"), page=2, columns=3)


def after(*keys: str, state: State = State(), shown: Shown = SHOWN) -> State:  # noqa: B008 - it is a value
    """Return the state after these keys."""
    for key in keys:
        state = pressed(state, key, shown)
    return state


def test_keys_have_names() -> None:
    """Sequences of every kind of terminal, control characters and characters of any length are keys."""
    assert ["up", "down", "right", "left", "home", "end"] == Keys().fed(b"\x1b[A\x1bOB\x1b[C\x1b[D\x1b[1~\x1bOF")
    assert ["pageup", "pagedown", "delete", "backtab"] == Keys().fed(b"\x1b[5~\x1b[6~\x1b[3~\x1b[Z")
    assert ["enter", "tab", "backspace", "é", "日", "q"] == Keys().fed("\r\t\x7fé日q".encode())
    assert ["q"] == Keys().fed(b"\x1b[1;5Pq\x00"), "unknown sequences and control characters are left out"


@given(st.lists(st.sampled_from(["\x1b[A", "\x1b[6~", "é", "日", "q", "\r", "\x1bOH"])), st.data())
def test_keys_are_the_same_in_any_pieces(sent: list[str], data: st.DataObject) -> None:
    """A slow line that cuts sequences and characters in two changes nothing."""
    whole = "".join(sent).encode()
    places = sorted(data.draw(st.sets(st.integers(0, len(whole)))))
    keys, pieces = Keys(), []
    for start, end in zip([0, *places], [*places, len(whole)]):
        pieces += keys.fed(whole[start:end])

    assert Keys().fed(whole) == pieces
    assert not keys.waits


def test_escape_alone_is_a_key() -> None:
    """An escape that nothing follows is the key of that name, also before another key."""
    keys = Keys()

    assert ([], True) == (keys.fed(b"\x1b"), keys.waits)
    assert (["escape"], False) == (keys.over(), keys.waits)
    assert ["escape", "q"] == Keys().fed(b"\x1bq")


def test_views_are_reached_by_number_and_in_turn() -> None:
    """Each number is a view, and tab goes round."""
    assert [*range(len(VIEWS))] == [after(str(number + 1)).view for number in range(len(VIEWS))]
    assert 0 == after(*["tab"] * len(VIEWS)).view
    assert len(VIEWS) - 1 == after("backtab").view
    assert State() == after("9")


def test_rows_are_selected_and_opened() -> None:
    """Moving stays within the rows, enter opens the selected row or the first, and escape closes it."""
    assert ["a", "b", "a", "d", "d", "a"] == [
        after(*keys).selected for keys in (["down"], ["j", "j"], ["j", "k", "k"], ["G"], ["end", "pagedown", "pagedown", "pagedown"], ["g"])
    ]
    assert "a" == after("enter").opened
    assert "b" == after("down", "down", "enter").opened
    assert "" == after("enter", "escape").opened
    assert "" == after("enter", "q").opened
    assert "" == after("enter", "q").wish
    assert "quit" == after("q").wish


def test_detail_scrolls_within_its_lines() -> None:
    """In a detail the same keys scroll, and not past the end."""
    opened = State(opened="a")
    shown = Shown(page=10, lines=25)

    assert [1, 0, 15, 15, 0] == [
        after(*keys, state=opened, shown=shown).first for keys in (["down"], ["up"], ["G"], ["pagedown", "pagedown"], ["G", "g"])
    ]


def test_filter_works_while_it_is_typed() -> None:
    """Every character counts at once, enter keeps the filter, escape ends it, and keys are text meanwhile."""
    typed = after("/", "q", "1", " ", "x")

    assert ("q1 x", FILTER) == (typed.filter, typed.typing)
    assert ("q1", "") == after("backspace", "backspace", "enter", state=typed)[2:4]
    assert ("", "") == after("escape", state=typed)[2:4]
    assert "" == after("escape", state=State(filter="x")).filter
    assert "x" == after("/", state=State(filter="x")).typed


def test_a_time_is_typed_and_gone_to() -> None:
    """What was typed after t is the wish to go there; escape and nothing typed change nothing."""
    assert TIME == after("t").typing
    assert ("go", "03:12") == (after("t", *"03:12", "enter").wish, after("t", *"03:12", "enter").message)
    assert "" == after("t", "enter").wish
    assert "" == after("t", "0", "escape").typing


def test_sorting_goes_through_the_columns_of_each_view() -> None:
    """s is the next column and after the last one the order of the view; S turns it round; each view has its own."""
    assert [0, 1, 2, None] == [after(*["s"] * count).order.column for count in (1, 2, 3, 4)]
    assert Order(0, reverse=True) == after("s", "S").order
    assert Order() == after("s", "2").order
    assert Order(0) == after("s", "2", "1").order


def test_wishes_are_for_one_key_only() -> None:
    """What the session has to do is said once."""
    assert ["earlier", "later", "freeze", "now", "copy"] == [after(key).wish for key in ("<", ">", " ", "end", "y")]
    assert "" == after("<", "down").wish
