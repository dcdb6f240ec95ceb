"""The login gate on made-up time."""

from __future__ import annotations

from sqmon.supervisor.login_gate import PAUSE_SECONDS, LoginGate


def test_open_gate_lets_everybody_in() -> None:
    """While logins work, any number may be under way."""
    gate = LoginGate(lambda: "secret")

    assert gate.lets(0.0, trying=199)


def test_refused_login_pauses_all_and_then_lets_one_try() -> None:
    """After a refused login nobody tries for fifteen minutes, then one at a time."""
    gate = LoginGate(lambda: "secret")
    gate.refused(100.0)

    assert not any(gate.lets(now, trying=0) for now in (100.0, 500.0, 100.0 + PAUSE_SECONDS - 0.1))
    assert gate.lets(100.0 + PAUSE_SECONDS, trying=0)
    assert not gate.lets(100.0 + PAUSE_SECONDS, trying=1)


def test_twenty_metrics_with_a_wrong_password_fail_once_a_pause() -> None:
    """However many ask and however often, one login is refused per pause."""
    gate = LoginGate(lambda: "wrong")
    gate.refused(0.0)
    attempts = 0
    for second in range(1, 3600):
        for _ in range(20):
            if gate.lets(float(second), trying=0):
                attempts += 1
                gate.refused(float(second))

    assert attempts == 3


def test_changed_password_ends_the_pause() -> None:
    """A changed password ends the pause at once."""
    passwords = ["old"]
    gate = LoginGate(lambda: passwords[-1])
    gate.refused(100.0)
    passwords.append("new")

    assert gate.lets(101.0, trying=0)
    assert not gate.lets(101.0, trying=1)


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

    gate.succeeded()

    assert gate.lets(60.0, trying=5)
