"""Side threads, which do what may block."""

from __future__ import annotations

import threading
from typing import Iterator

import pytest

from sqmon.side_thread import SideThread
from tests.support.program import DEADLINE_SECONDS, wait_until


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event on which a worker waits; it is set at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


def stuck(gate: threading.Event) -> SideThread[str]:
    """A side thread that stays in its first item until the gate opens."""

    def wait(_: str) -> None:
        gate.wait(30)

    return SideThread("test", wait, room=10)


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
