"""Side threads, which do what may block."""

from __future__ import annotations

import threading
from typing import Iterator, Optional

import pytest

from sqmon.side_thread import Crew, SideThread
from tests.support.program import DEADLINE_SECONDS, wait_until


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event on which a worker waits; it is set at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


def stuck(gate: threading.Event, crew: Optional[Crew] = None) -> SideThread[str]:
    """A side thread that stays in its first item until the gate opens."""

    def wait(_: str) -> None:
        gate.wait(30)

    return SideThread("test", wait, room=10, crew=crew)


def test_items_are_worked_off_in_their_order() -> None:
    """Items are done in their order, and `end` returns after the last one."""
    done: list[int] = []
    thread = SideThread("test", done.append, room=100)

    assert all(thread.offer(number) for number in range(100))
    assert thread.end(10)
    assert list(range(100)) == done


def test_offer_never_waits(gate: threading.Event) -> None:
    """An item that finds no room is refused at once, and `end` takes a bounded time."""
    thread = stuck(gate)
    assert thread.offer("in work")
    wait_until(lambda: thread.busy_since is not None and not thread.waiting)

    assert thread.offer("fits", 9)
    assert not thread.offer("does not fit", 2)
    assert thread.offer("fits too", 1)
    assert thread.full
    assert not thread.end(0.01)


def test_item_larger_than_the_room_is_taken_alone(gate: threading.Event) -> None:
    """An item larger than the whole room is accepted while nothing else waits."""
    thread = stuck(gate)

    assert thread.offer("huge", 11)


def test_idle_is_called_when_nothing_comes() -> None:
    """Without items, the thread calls `idle`, so that retries and rotations continue."""
    called = threading.Event()
    thread: SideThread[str] = SideThread("test", lambda _: None, room=1, idle=called.set, idle_seconds=0.01)
    thread.offer("start")

    assert called.wait(30)
    assert thread.end(10)


def test_bug_in_the_thread_is_raised_by_its_owner() -> None:
    """An exception in the thread is raised in its owner."""

    def fail(_: str) -> None:
        raise ZeroDivisionError

    thread = SideThread("test", fail, room=10)
    thread.offer("fails")

    with pytest.raises(ZeroDivisionError):
        thread.end(10)
    with pytest.raises(ZeroDivisionError):
        thread.offer("later")


def test_drain_waits_for_the_work_and_not_for_ever() -> None:
    """An owner can wait until everything is done, or for as long as it likes."""
    gate, done = threading.Event(), []

    def work(item: int) -> None:
        gate.wait()
        done.append(item)

    thread = SideThread("drained", work, room=10)
    assert thread.drain(0.0)
    thread.offer(1)
    thread.offer(2)
    assert not thread.drain(0.01)
    gate.set()

    assert thread.drain(DEADLINE_SECONDS)
    assert [1, 2] == done
    assert thread.end(DEADLINE_SECONDS)


def test_crew_serves_many_with_one_thread() -> None:
    """Side threads that share a crew are served by one thread, each in its order, as long as nothing holds it up."""
    crew = Crew("shared", most=1)
    done: list[tuple[int, int]] = []
    names: set[str] = set()

    def work(item: tuple[int, int]) -> None:
        names.add(threading.current_thread().name)
        done.append(item)

    owners = [SideThread("unused", work, room=100, crew=crew) for _ in range(5)]
    for number in range(20):
        assert all(owner.offer((index, number)) for index, owner in enumerate(owners))
    assert all(owner.end(DEADLINE_SECONDS) for owner in owners)

    assert {"shared"} == names
    assert all([number for index, number in done if index == owner] == list(range(20)) for owner in range(5))


def test_held_up_owner_costs_the_others_of_a_crew_nothing(gate: threading.Event) -> None:
    """While one side thread is held up the others of its crew are served, it alone is never in two calls at once, and says since when."""
    crew = Crew("shared", most=2)
    held = stuck(gate, crew)
    done: list[int] = []
    free = SideThread("unused", done.append, room=10, crew=crew)

    assert held.offer("first")
    assert held.offer("second")
    assert free.offer(1)
    wait_until(lambda: done == [1])

    assert held.busy_since is not None
    assert held.waiting == 1
    assert free.end(DEADLINE_SECONDS)
    assert not held.end(0.01)
    gate.set()
    assert held.end(DEADLINE_SECONDS)


def test_owner_behind_held_up_ones_says_since_when_it_waits(gate: threading.Event) -> None:
    """An item that no thread of the crew is free for counts as work that has begun, so that its owner can tell of the trouble."""
    crew = Crew("shared", most=1)
    held = stuck(gate, crew)
    behind: SideThread[str] = SideThread("unused", lambda _: None, room=10, crew=crew)

    assert held.offer("in work")
    wait_until(lambda: not held.waiting)
    assert behind.offer("waits")

    assert behind.busy_since is not None
    assert not behind.drain(0.01)
