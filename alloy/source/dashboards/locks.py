"""The dashboard of locks: who holds what for how long, which lock nobody will release, whose statements hold the most."""

from __future__ import annotations

from alloy.source.dashboards.panels import Section, above, board, course, lines, listing, mean, number, series
from alloy.source.logql import NOW, SITE, extreme, largest, lifetimes, newest, per_poll, rows
from sqmon.config import thresholds

_LOCK = ("statement_id", "username", "locked_object", "lock_mode")


_CHOSEN = '| locked_object=~"(?i).*$object.*" | username=~"(?i).*$user.*"'
_WAIT = ("root", "blocked_by", "statement_id", "username", "locked_object", "statement")


def _history(events: str, value: str, labels: tuple[str, ...], where: str = "") -> str:
    """Return the newest number of each lifetime within the chosen range, for the chosen object, user and statement."""
    fields = dict.fromkeys((*labels, value, "username", "locked_object"))
    query = lifetimes(*fields, where=f'| event=~"{events}" {_CHOSEN} {where}'.strip(), site=SITE)
    return newest(100, query, value, *labels, over="$__range", per_place=False)


def _objects() -> str:
    """Return how many objects each statement holds, from one number for each lock; see `largest` for its form."""
    query = rows("show_locks", "statement_id", "username", "locked_object", "poll", site=SITE)
    by = "cluster, instance, statement_id, username"
    return f'topk(50, count by ({by}) (last_over_time({query} | unwrap poll | __error__="" [{NOW}]) by ({by}, locked_object)))'


def locks() -> str:
    """Return the dashboard."""
    held = rows("show_locks", *_LOCK, "is_statement_active", "server", "statement_string", "lock_age_s", site=SITE)
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
                "Who held what, and who waited, in the chosen range",
                [
                    listing(
                        "Who held it",
                        "The hundred locks that were held longest: the least time that each was held, and whether anybody holds it still.",
                        _history("lock_.*", "held_min_s", (*_LOCK, "lock_start_time", "statement"), '| statement_id=~"$statement.*"'),
                        "held at least",
                        (*_LOCK, "lock_start_time", "statement"),
                        links={"statement_id": "statements"},
                        **age,
                    ),
                    listing(
                        "Who waited",
                        "The hundred longest waits, as far as polls saw them. Waits are inferred: SQreamDB shows locks, not requests.",
                        _history("statement_(un)?blocked", "held_min_s", ("statement_id", "username", "locked_object", "statement")),
                        "waited at least",
                        ("statement_id", "username", "locked_object", "statement"),
                        unit="s",
                        links={"statement_id": "statements"},
                        span=12,
                    ),
                    listing(
                        "Who waited for whom",
                        "Each wait below the statement that it goes back to: `root` does not wait itself, `depth` is how far away it is.",
                        _history("statement_blocked", "depth", _WAIT),
                        "depth",
                        _WAIT,
                        links={"root": "statements", "statement_id": "statements"},
                        span=12,
                    ),
                ],
            ),
            Section(
                "Who holds what",
                [
                    listing(
                        "Who holds what, for how long",
                        "The hundred oldest locks of the last two minutes.",
                        largest(100, held, "lock_age_s", *_LOCK, "is_statement_active", "server", "statement_string"),
                        "held",
                        (*_LOCK, "is_statement_active", "server", "statement_string"),
                        links={"statement_id": "statements"},
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
        texts=("object", "user", "statement"),
    )
