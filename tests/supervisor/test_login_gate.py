"""The login gate on made-up time."""

from __future__ import annotations

from typing import Optional

from sqmon.ipc.login_pause import PAUSE_SECONDS
from sqmon.supervisor.login_gate import LoginGate


def test_one_login_goes_ahead_and_the_others_follow() -> None:
    """While the password is unproved one login goes ahead, and then a few at a time may follow."""
    gate = LoginGate(lambda: "secret")

    assert gate.lets(0.0, trying=0)
    assert not gate.lets(0.0, trying=1)

    gate.succeeded(0.1, began=0.0)

    assert gate.lets(0.1, trying=0)
    assert gate.lets(0.1, trying=3)
    assert not gate.lets(0.1, trying=4)


def test_what_a_login_has_proved_is_soon_forgotten() -> None:
    """A login proves the password for a short time only."""
    gate = LoginGate(lambda: "secret")
    gate.succeeded(0.0, began=0.0)

    assert gate.lets(1.0, trying=0)
    assert not gate.lets(1.0, trying=1)


def test_refused_login_pauses_all_and_then_lets_one_try() -> None:
    """After a refused login nobody tries for fifteen minutes, then one at a time."""
    gate = LoginGate(lambda: "secret")
    gate.refused(100.0, "secret")

    assert not any(gate.lets(now, trying=0) for now in (100.0, 500.0, 100.0 + PAUSE_SECONDS - 0.1))
    assert gate.lets(100.0 + PAUSE_SECONDS, trying=0)
    assert not gate.lets(100.0 + PAUSE_SECONDS, trying=1)


def test_login_that_began_before_the_refusal_ends_no_pause() -> None:
    """A login that began before the refusal doesn't end the pause."""
    gate = LoginGate(lambda: "secret")
    gate.refused(100.0, "secret")
    gate.succeeded(100.1, began=99.9)

    assert gate.paused
    assert not gate.lets(100.2, trying=0)

    gate.succeeded(100.3, began=100.2)

    assert not gate.paused


def test_twenty_metrics_with_a_wrong_password_fail_once_a_pause() -> None:
    """However many ask and however often, one login is refused per pause."""
    gate = LoginGate(lambda: "wrong")
    gate.refused(0.0, "wrong")
    attempts = 0
    for second in range(1, 3600):
        for _ in range(20):
            if gate.lets(float(second), trying=0):
                attempts += 1
                gate.refused(float(second), "wrong")

    assert attempts == 3


def test_changed_password_ends_the_pause() -> None:
    """A changed password ends the pause at once."""
    passwords = ["old"]
    gate = LoginGate(lambda: passwords[-1])
    gate.refused(100.0, "old")
    passwords.append("new")

    assert gate.lets(101.0, trying=0)
    assert not gate.lets(101.0, trying=1)


def test_password_that_was_renewed_before_the_refusal_is_tried_at_once() -> None:
    """A password that was changed before the refusal became known is tried at once."""
    gate = LoginGate(lambda: "new")
    gate.refused(100.0, "old")

    assert gate.lets(100.0, trying=0)


def test_pause_outlasts_a_password_that_cannot_be_read() -> None:
    """A password file that is gone for a moment and comes back unchanged doesn't end the pause."""
    passwords: list[Optional[str]] = ["old"]
    gate = LoginGate(lambda: passwords[-1])
    gate.refused(100.0, "old")
    passwords.append(None)

    assert not gate.lets(101.0, trying=0)

    passwords.append("old")

    assert not gate.lets(102.0, trying=0)


def test_pause_is_kept_for_a_password_that_comes_back() -> None:
    """A failed attempt with another password doesn't end the pause of the refused one."""
    passwords = ["old"]
    gate = LoginGate(lambda: passwords[-1])
    gate.refused(100.0, "old")
    passwords.append("new")
    gate.failed(101.0)
    passwords.append("old")

    assert not gate.lets(110.0, trying=0)


def test_lost_database_is_tried_by_one_at_a_time_until_it_is_back() -> None:
    """While the database is down one at a time tries every one to four seconds; when it is back, all may."""
    gate, knocks, last = LoginGate(lambda: ""), [], 0.0
    gate.doubt()
    for tenth in range(1, 600):
        now = tenth / 10
        if gate.lets(now, trying=0):
            knocks.append(now - last)
            last = now
            gate.failed(now)

    assert not gate.lets(60.0, trying=1)
    assert all(0.7 <= wait <= 4.1 for wait in knocks[1:])
    assert len(knocks) > 12

    gate.succeeded(60.0, began=59.0)

    assert gate.lets(60.0, trying=3)
