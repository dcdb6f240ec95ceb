"""Whatever happened and however it was polled: each lifetime is told once, and its bounds are true."""

from __future__ import annotations

import json
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from sqmon.clock import stamp_ns
from sqmon.lifetimes.directory import DirectoryState
from sqmon.lifetimes.lifetimes import Lifetimes
from sqmon.lifetimes.lines import Line
from sqmon.lifetimes.packed_state import pack, unpack
from sqmon.lifetimes.polls import Poll
from tests.lifetimes.site import NOON_NS, after_noon, events, lock

LONGEST = 30_000  # milliseconds that a world lasts
INTERVAL, POLL = 2000, 500


class Truth(NamedTuple):
    """A lock that was there from `began` on, and no more from `ended` on, in milliseconds."""

    number: int
    began: int
    ended: int


class Asked(NamedTuple):
    """A poll: when it began, was answered and ended, in milliseconds, and whether it was good."""

    began: int
    answered: int
    ended: int
    good: bool


@st.composite
def truths(draw: st.DrawFn) -> list[Truth]:
    """Some locks at any time, some of them with one number."""
    spans = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(-5000, LONGEST), st.integers(1, LONGEST)), max_size=12))
    known: dict[tuple[int, int], Truth] = {}
    for number, began, lasted in spans:
        # Two locks of one statement on one object begin in different seconds, else nothing tells them apart.
        known.setdefault((number, began // 1000), Truth(number, began, began + lasted))
    return [*known.values()]


@st.composite
def schedules(draw: st.DrawFn, *, regular: bool = False) -> list[Asked]:
    """Polls every two seconds, late and long, and unless they are `regular` some of them failed or skipped."""
    polls, tick = [], 0
    while tick < LONGEST:
        began = tick + draw(st.integers(0, 50))
        lasts = draw(st.integers(2, POLL))
        good = regular or draw(st.sampled_from([True, True, True, False]))
        polls.append(Asked(began, began + draw(st.integers(1, lasts - 1)), began + lasts, good))
        tick += INTERVAL * (1 if regular else draw(st.sampled_from([1, 1, 1, 1, 5])))
    return polls


def polls_of(world: list[Truth], schedule: list[Asked]) -> list[Poll]:
    """The good polls: what was there at the instant of the answer."""
    return [
        Poll(
            "show_locks",
            "run",
            number,
            NOON_NS + asked.began * 10**6,
            NOON_NS + asked.ended * 10**6,
            [lock(each.number, since=each.began // 1000) for each in world if each.began <= asked.answered < each.ended],
        )
        for number, asked in enumerate(schedule, start=1)
        if asked.good
    ]


def lines_of(polls: list[Poll]) -> list[Line]:
    """What the polls reveal."""
    lifetimes = Lifetimes()
    return [line for poll in polls for line in lifetimes.take(poll)]


def cut(polls: list[Poll], place: int) -> list[Line]:
    """What the polls reveal to two, the second of which goes on from the packed state of the first."""
    first, second = Lifetimes(), Lifetimes()
    lines = [line for poll in polls[:place] for line in first.take(poll)]
    state = unpack(pack(0, DirectoryState(None, {}), first.state()))
    assert state is not None
    second.resume(state.lifetimes, last_ns=stamp_ns(lines[-1]["ts"]) if lines else 0)
    return lines + [line for poll in polls[place:] for line in second.take(poll)]


def identity(line: Line) -> tuple[str, str]:
    """What tells one lock from another."""
    return line["statement_id"], line["lock_start_time"]


@given(truths(), schedules())
def test_every_lifetime_is_told_once_and_its_bounds_are_true(world: list[Truth], schedule: list[Asked]) -> None:
    """A lock that a good poll saw is acquired once and released at most once, and the truth lies within the bounds."""
    polls = polls_of(world, schedule)
    lines = lines_of(polls)
    acquired, released = (events(lines, name) for name in ("lock_acquired", "lock_released"))
    by_identity = {identity(lock(each.number, since=each.began // 1000)): each for each in world}
    answered = [asked.answered for asked in schedule if asked.good]

    seen = [key for key, each in by_identity.items() if any(each.began <= at < each.ended for at in answered)]
    assert sorted(seen) == sorted(map(identity, acquired))
    over = [key for key in seen if by_identity[key].ended <= max(answered)]
    assert sorted(over) == sorted(map(identity, released))
    for line in lines:
        truth = by_identity[identity(line)]
        began, ended = truth.began / 1000, truth.ended / 1000
        began_after, began_before, ended_after, ended_before = (
            after_noon(line[name]) for name in ("began_after", "began_before", "ended_after", "ended_before")
        )
        assert began_before is not None
        assert ended_after is not None
        assert began_after is None or began_after <= began
        assert began <= began_before
        assert ended_after <= ended
        assert ended_before is None or ended <= ended_before
        if line["event"] == "lock_released":
            assert line["held_min_s"] <= ended - began
            assert line["held_max_s"] is None or ended - began <= line["held_max_s"]


@given(truths(), schedules(regular=True))
def test_without_missed_polls_nothing_long_is_missed_and_no_bound_is_wide(world: list[Truth], schedule: list[Asked]) -> None:
    """A lock of more than interval and poll time is told, and no bound is wider than that."""
    widest = INTERVAL + 50 + POLL
    lines = lines_of(polls_of(world, schedule))
    told = set(map(identity, events(lines, "lock_acquired")))

    for each in world:
        if min(each.ended, schedule[-1].began) - max(each.began, schedule[0].began) > widest:
            assert identity(lock(each.number, since=each.began // 1000)) in told
    for line in events(lines, "lock_released"):
        for first, last in (("began_after", "began_before"), ("ended_after", "ended_before")):
            earliest, latest = after_noon(line[first]), after_noon(line[last])
            assert earliest is None or latest is None or latest - earliest <= widest / 1000


@given(truths(), schedules(), st.integers(0, 15))
def test_state_that_is_gone_on_from_makes_no_difference(world: list[Truth], schedule: list[Asked], place: int) -> None:
    """Wherever the polls are cut, one that goes on from the state tells the rest as the first would have."""
    polls = polls_of(world, schedule)

    assert json.dumps(lines_of(polls)) == json.dumps(cut(polls, place))


@given(truths(), schedules())
def test_the_same_polls_give_the_same_lines_in_order(world: list[Truth], schedule: list[Asked]) -> None:
    """The lines depend on nothing but the polls, each names its poll, and their times increase."""
    polls = polls_of(world, schedule)
    lines = lines_of(polls)

    assert lines == lines_of(polls)
    stamps = [line["ts"] for line in lines]
    assert stamps == sorted(set(stamps))
    numbers = [line["from_poll"] for line in lines]
    assert numbers == sorted(numbers)
    assert {poll.poll for poll in polls} >= set(numbers)
