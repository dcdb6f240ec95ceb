"""The dashboard of locks: who holds what for how long, which lock nobody will release, whose statements hold the most."""

from __future__ import annotations

from alloy.source.dashboards.panels import Section, above, board, course, lines, listing, mean, number, series
from alloy.source.logql import NOW, SITE, extreme, largest, per_poll, rows
from sqmon.config import thresholds

_LOCK = ("statement_id", "username", "locked_object", "lock_mode")


def _objects() -> str:
    """Return how many objects each statement holds, from one number for each lock; see `largest` for its form."""
    query = rows("show_locks", "statement_id", "username", "locked_object", "poll", site=SITE)
    by = "cluster, instance, statement_id, username"
    return f'topk(50, count by ({by}) (last_over_time({query} | unwrap poll | __error__="" [{NOW}]) by ({by}, locked_object)))'


def locks() -> str:
    """Return the dashboard."""
    held = rows("show_locks", *_LOCK, "is_statement_active", "server", "lock_age_s", site=SITE)
    orphaned = rows("show_locks", *_LOCK, "is_statement_active", "lock_age_s", where='| is_statement_active="0"', site=SITE)
    exclusive = rows("show_locks", *_LOCK, "lock_age_s", where='| lock_mode=~"(?i)exclusive"', site=SITE)
    lasting = rows("show_locks", "lock_age_s", where=f"| lock_age_s > {thresholds.LOCK_SECONDS:g}", site=SITE)
    age = {"unit": "s", "thresholds": above(thresholds.LOCK_SECONDS)}
    return board(
        "locks",
        "SQreamDB: locks",
        "Who holds what for how long, and which locks nobody will release.",
        [
            Section(
                "Now",
                [
                    mean("Locks", per_poll(held, "show_locks", site=SITE), span=5),
                    number("Oldest lock", "Within two minutes.", extreme("max", held, "lock_age_s"), span=5, **age),
                    mean(
                        "Lasting locks now",
                        per_poll(lasting, "show_locks", site=SITE),
                        "Held for longer than SqreamLastingLock allows; the alert names the twenty oldest.",
                        thresholds=above(1),
                        span=5,
                    ),
                    mean(
                        "Orphaned locks now",
                        per_poll(orphaned, "show_locks", site=SITE),
                        "Locks whose statement is not active, which SQreamDB tells from 4.7 on.",
                        thresholds=above(1),
                        span=5,
                    ),
                    mean("Exclusive locks", per_poll(exclusive, "show_locks", site=SITE), "These are what others wait for.", span=4),
                ],
            ),
            Section(
                "Who holds what",
                [
                    listing(
                        "Who holds what, for how long",
                        "The hundred oldest locks of the last two minutes.",
                        largest(100, held, "lock_age_s", *_LOCK, "is_statement_active", "server"),
                        "held",
                        (*_LOCK, "is_statement_active", "server"),
                        **age,
                    ),
                    listing(
                        "Orphaned locks",
                        "Their statement is no longer active, so it won't release them; the fifty oldest.",
                        largest(50, orphaned, "lock_age_s", *_LOCK),
                        "held",
                        _LOCK,
                        unit="s",
                        thresholds=above(thresholds.ORPHANED_LOCK_SECONDS),
                    ),
                    listing(
                        "Blockers",
                        "The fifty oldest exclusive locks: other statements that need the object have to wait.",
                        largest(50, exclusive, "lock_age_s", *_LOCK),
                        "held",
                        _LOCK,
                        span=12,
                        **age,
                    ),
                    listing(
                        "Objects per statement",
                        "How many objects one statement holds; the fifty statements with the most.",
                        _objects(),
                        "objects",
                        ("statement_id", "username"),
                        span=12,
                    ),
                ],
            ),
            Section(
                "Over time",
                [
                    course(
                        "Locks per user",
                        "Mean of the polls in each interval.",
                        per_poll(held, "show_locks", "username", over="$__auto", site=SITE),
                        legend=series("username"),
                        stacked=True,
                    ),
                    course(
                        "Oldest lock per user",
                        "A line that only rises means that nobody releases the lock.",
                        extreme("max", held, "lock_age_s", "username", over="$__auto"),
                        legend=series("username"),
                        **age,
                    ),
                    lines("Lines", "The records, with the text of the statements.", rows("show_locks", site=SITE)),
                ],
            ),
        ],
    )
