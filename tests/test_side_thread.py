"""The thread that does what may block."""

from __future__ import annotations

import threading
from typing import Iterator

import pytest

from sqmon.side_thread import SideThread
from tests.support.program import wait_until


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a worker of a test waits for; open at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


def stuck(gate: threading.Event) -> SideThread[str]:
    """A thread that stays in its first item until the gate opens."""

    def wait(_: str) -> None:
        gate.wait(30)

    return SideThread("test", wait, room=10)


def test_items_are_worked_off_in_their_order() -> None:
    """`end` returns when the last one is done."""
    done: list[int] = []
    thread = SideThread("test", done.append, room=100)

    assert all(thread.offer(number) for number in range(100))
    assert thread.end(10)
    assert list(range(100)) == done


def test_offer_never_waits(gate: threading.Event) -> None:
    """What finds no room is refused, and the end is bounded."""
    thread = stuck(gate)
    assert thread.offer("in work")
    wait_until(lambda: thread.busy_since is not None and not thread.waiting)

    assert thread.offer("fits", 9)
    assert not thread.offer("does not fit", 2)
    assert thread.offer("fits too", 1)
    assert thread.full
    assert not thread.end(0.01)


def test_item_larger_than_the_room_is_taken_alone(gate: threading.Event) -> None:
    """Otherwise it could never be told."""
    thread = stuck(gate)

    assert thread.offer("huge", 11)


def test_idle_is_called_when_nothing_comes() -> None:
    """Retries and rotations go on without an item."""
    called = threading.Event()
    thread: SideThread[str] = SideThread("test", lambda _: None, room=1, idle=called.set, idle_seconds=0.01)
    thread.offer("start")

    assert called.wait(30)
    assert thread.end(10)


def test_bug_in_the_thread_is_raised_by_its_owner() -> None:
    """It is never lost in a thread."""

    def fail(_: str) -> None:
        raise ZeroDivisionError

    thread = SideThread("test", fail, room=10)
    thread.offer("fails")

    with pytest.raises(ZeroDivisionError):
        thread.end(10)
    with pytest.raises(ZeroDivisionError):
        thread.offer("later")
