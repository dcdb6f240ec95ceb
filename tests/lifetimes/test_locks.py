"""What becomes of locks, case by case."""

from __future__ import annotations

from sqmon.config import thresholds
from tests.lifetimes.site import Site, after_noon, events, life, lock, statement, told


def test_lock_is_acquired_and_released_between_polls() -> None:
    """The bounds are the starts of the last polls before, and the ends of the first polls after."""
    site = Site()
    site.locks(0.0)
    (acquired,) = site.locks(2.0, lock(7, since=1))
    site.locks(4.0, lock(7, since=1))
    (released,) = site.locks(6.0)

    assert ("lock_acquired", "7", (0.0, 2.5, 2.0, None)) == (acquired["event"], acquired["statement_id"], life(acquired))
    assert ("lock_released", "7", (0.0, 2.5, 4.0, 6.5)) == (released["event"], released["statement_id"], life(released))
    assert (1.5, 6.5, 2, "seen", "gone", "polls") == tuple(
        released[name] for name in ("held_min_s", "held_max_s", "polls_seen", "certainty", "end", "began_known")
    )
    assert ("update t set x = 7", "00000000000000ff") == (released["statement"], released["statement_hash"])
    assert ("show_locks", "run", 4) == tuple(released[name] for name in ("from_metric", "from_run_id", "from_poll"))


def test_missed_polls_widen_the_bounds_and_close_nothing() -> None:
    """After an hour without a good poll, a lock that is still there is the same lock."""
    site = Site()
    site.locks(0.0)
    site.locks(2.0, lock(7))

    assert [("lock_held", "7")] == told(site.locks(3602.0, lock(7)))
    (released,) = events(site.locks(7200.0), "lock_released")
    assert (0.0, 2.5, 3602.0, 7200.5) == life(released)


def test_lock_that_is_held_is_told_at_milestones() -> None:
    """A lock that is held for two days gives one line for each milestone that is proved, however often it is polled."""
    site = Site()
    site.locks(0.0)
    for at in range(2, 2 * 86400 + 60, 7):
        site.locks(at, lock(7))

    milestones = [line["milestone_s"] for line in events(site.lines, "lock_held")]
    assert [10, 60, 300, 600, 900, 1800, 3600, 4 * 3600, 5 * 3600, 86400, 2 * 86400] == milestones
    alerted = {thresholds.ORPHANED_LOCK_SECONDS, thresholds.LOCK_SECONDS, thresholds.QUEUED_SECONDS, thresholds.STUCK_SECONDS}
    assert {*alerted, *thresholds.EXECUTING_SECONDS} <= {*milestones}
    levels = {line["milestone_s"]: line["level"] for line in events(site.lines, "lock_held")}
    assert ("info", "warning") == (levels[60], levels[thresholds.ORPHANED_LOCK_SECONDS])
    assert all(line["held_min_s"] >= line["milestone_s"] for line in site.lines)


def test_lock_that_was_there_before_the_first_poll_began_by_the_servers_clock() -> None:
    """Nobody saw it begin, so its beginning is what the server says, as exactly as the server's clock is known."""
    site = Site()
    (first,) = site.locks(0.0, lock(7, since=-5000.0))
    assert ("no", None, None) == (first["began_known"], first["began_after"], first["held_max_s"])

    site.statements(1.0, skew=0.0)
    (held,) = events(site.locks(2.0, lock(7, since=-5000.0)), "lock_held")

    assert ("server", 3600) == (held["began_known"], held["milestone_s"])
    began_after, began_before = after_noon(held["began_after"]), after_noon(held["began_before"])
    assert began_after is not None
    assert began_before is not None
    assert began_after <= -5000.0 <= -4999.0 <= began_before
    assert began_before - began_after < 3


def test_number_that_comes_again_with_another_start_is_another_lock() -> None:
    """The same statement id, object and mode with another start is a new lock, and the old one is released."""
    site = Site()
    site.locks(0.0, lock(2, since=0))

    assert [("lock_released", "2"), ("lock_acquired", "2")] == told(site.locks(60.0, lock(2, since=50)))


def test_lock_that_is_upgraded_is_another_lock() -> None:
    """A lock that turns from Inclusive to Exclusive is released and acquired."""
    site = Site()
    site.locks(0.0, lock(2, mode="Inclusive"))
    released, acquired = site.locks(2.0, lock(2, mode="Exclusive"))

    assert ("Inclusive", "Exclusive") == (released["lock_mode"], acquired["lock_mode"])


def test_two_locks_of_one_key_are_two() -> None:
    """A row that comes twice is two locks, and when one of them goes one is released."""
    site = Site()
    acquired = site.locks(0.0, lock(2), lock(2))
    (released,) = site.locks(2.0, lock(2))

    assert [1, 2] == [line["nth"] for line in acquired]
    assert ("lock_released", 2) == (released["event"], released["nth"])
    assert [("lock_released", "2")] == told(site.locks(4.0))


def test_two_forms_of_one_time_are_the_same_time() -> None:
    """A server that begins to write the year first, and its ids as numbers, makes no lock another one."""
    site = Site()
    site.locks(0.0, lock(2, statement_start_time="24-11-2026 11:00:00", lock_start_time="24-11-2026 11:00:01"))

    later = lock(2, statement_start_time="2026-11-24 11:00:00", lock_start_time="2026-11-24 11:00:01")
    assert [] == events(site.locks(2.0, {**later, "statement_id": 2}), "lock_acquired", "lock_released")


def test_columns_that_are_gone_end_what_can_no_longer_be_told_apart() -> None:
    """When a column of the key is gone, locks are closed as inferred, and those of the poll begin without a lower bound."""
    site = Site()
    site.locks(0.0, lock(2))
    poorer = lock(2)
    del poorer["lock_start_time"]
    released, acquired = site.locks(2.0, poorer)

    assert ("lock_released", "columns_changed", "inferred") == (released["event"], released["end"], released["certainty"])
    assert ("lock_acquired", None) == (acquired["event"], acquired["began_after"])


def test_clock_that_is_set_back_leaves_the_duration_unknown() -> None:
    """Across a step of this host's clock nothing is said of how long a lock was held, and nothing is closed by it."""
    site = Site()
    site.locks(3600.0, lock(2))

    assert [] == site.locks(0.0, lock(2))
    (released,) = site.locks(2.0)
    assert (True, None, None) == tuple(released[name] for name in ("clock_stepped", "held_min_s", "held_max_s"))
    (acquired,) = site.locks(4.0, lock(3))
    assert (2.0, 4.5, False) == (*life(acquired)[:2], acquired["clock_stepped"])


def test_server_says_that_a_lock_is_an_orphan() -> None:
    """Where the server says that the statement is not active, the lock is orphaned at once, and told once."""
    site = Site()
    site.locks(0.0, lock(2, is_statement_active=1))
    (orphaned,) = site.locks(2.0, lock(2, is_statement_active=0))

    assert ("lock_orphaned", "seen", True) == (orphaned["event"], orphaned["certainty"], orphaned["orphaned"])
    assert [] == site.locks(4.0, lock(2, is_statement_active=0))
    (released,) = site.locks(6.0)
    assert released["orphaned"]


def test_holder_that_two_polls_around_the_lock_miss_is_gone() -> None:
    """Where the server doesn't say, a lock is orphaned when polls before and after it both lack its statement."""
    site = Site()
    site.locks(0.0, lock(2))
    site.statements(1.0)
    site.locks(2.0, lock(2))
    (orphaned,) = events(site.statements(3.0), "lock_orphaned")

    assert ("2", "inferred") == (orphaned["statement_id"], orphaned["certainty"])
    assert [] == events(site.statements(5.0), "lock_orphaned")


def test_polls_that_overlap_with_that_of_the_lock_make_no_orphan() -> None:
    """A poll that was not over before that of the lock began, or began before that was over, may have been answered on the other side."""
    for before, after in ((1.8, 3.0), (1.0, 2.2)):
        site = Site()
        site.statements(before)
        site.locks(2.0, lock(2))
        assert [] == events(site.statements(after), "lock_orphaned")


def test_holder_that_a_poll_sees_makes_no_orphan() -> None:
    """A statement that began after the first of the two polls, or that is seen by one of them, is no missing holder."""
    site = Site()
    site.statements(1.0)
    site.locks(2.0, lock(2))
    site.statements(3.0, statement(2))
    site.locks(4.0, lock(2))

    assert [] == events(site.statements(5.0), "lock_orphaned")


def test_what_goes_on_is_known_at_any_time() -> None:
    """Locks that are held have a line as of the newest poll."""
    site = Site()
    site.locks(0.0)
    site.locks(2.0, lock(2), lock(3))
    site.locks(4.0, lock(3))

    (held,) = site.lifetimes.unfinished()
    assert ("lock_held", "3", (0.0, 2.5, 4.0, None), 1.5, 4.5) == (
        held["event"],
        held["statement_id"],
        life(held),
        held["held_min_s"],
        held["held_max_s"],
    )
