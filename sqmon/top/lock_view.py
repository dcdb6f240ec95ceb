"""The view of locks: a tree of those who hold them and those who wait for them."""

from __future__ import annotations

from functools import partial
from typing import Iterator

from sqmon.config import thresholds
from sqmon.lifetimes.polls import Row as Record
from sqmon.lifetimes.polls import text_of
from sqmon.lifetimes.wanted import EXCLUSIVE
from sqmon.top.lines import BOLD, DIM, Span, joined, line
from sqmon.top.picture import Picture, age_cell, blockers, one_line, whole
from sqmon.top.table import Cell, Column, Level, Row, Table

_COLUMNS = (
    Column("statement"),
    Column("user", rank=1, most=20),
    Column("mode", rank=4),
    Column("object", rank=2, most=48),
    Column("for", right=True),
    Column("state", most=28),
    Column("SQL", rank=3, grows=True),
)
_NOTES = (
    "Waits are inferred, since SQreamDB lists only locks that were obtained.",
    "A statement gives up after statementLockTimeout (3 s by default).",
)


def locks(picture: Picture) -> Table:
    """Return the statements that hold locks, those that block most first, each with those that wait for it below."""
    roots = [number for number in (*picture.locks, *picture.blocked) if number not in picture.waits]
    # Where all wait for each other, nobody is first.
    roots = list(dict.fromkeys([*roots, *picture.waits]))
    seen: set[str] = set()
    trees = [tree for tree in ([*_tree(picture, number, "", "", seen)] for number in roots) if tree]
    trees.sort(key=lambda tree: (-len(tree), -(tree[0].cells[4].by or 0)))
    notes = [line(Span(note, DIM)) for note in _NOTES] if picture.waits else []
    return Table(_COLUMNS, trees, "No lock is held.", after=notes)


def short_name(locked_object: str) -> str:
    """Return the name of a locked object as people say it: `table$master$public$t$Update` is master.public.t Update."""
    kind, *path = locked_object.split("$")
    end = f" {path.pop()}" if path and path[-1] in ("Insert", "Update") else ""
    name = ".".join(part for part in path if part)
    return joined([name + end]) if kind == "table" and name else f"{kind} {name}{end}".strip()


def _tree(picture: Picture, number: str, parent: str, branch: str, seen: set[str]) -> Iterator[Row]:
    """Yield a statement and, below it, those that wait for it; `branch` are the lines that lead to it from its `parent`."""
    if number in seen:
        return
    seen.add(number)
    yield _row(picture, number, parent, branch)
    below = branch.replace("├ ", "│ ").replace("└ ", "  ")
    waiting = [waiter for waiter, wait in picture.waits.items() if blockers(wait)[0] == number and waiter not in seen]
    for place, waiter in enumerate(waiting):
        yield from _tree(picture, waiter, number, below + ("└ " if place + 1 == len(waiting) else "├ "), seen)


def _row(picture: Picture, number: str, parent: str, branch: str) -> Row:
    held, wait, orphaned = picture.locks.get(number, []), picture.waits.get(number), picture.is_orphaned(number)
    if wait is not None:
        mode = str(wait["rule"]).partition(" ")[0]
        name, more = str(wait["locked_object"]).partition(",")[0], str(wait["locked_object"]).count(",")
        age = age_cell(whole(picture.statements.get(number, {}).get("status_age_s")), thresholds.STUCK_SECONDS)
    else:
        lock = min(held, key=lambda each: _weight(picture, number, each), default={})
        mode, name, more = text_of(lock.get("lock_mode")), text_of(lock.get("locked_object")), len(held) - 1
        limit = thresholds.ORPHANED_LOCK_SECONDS if orphaned else thresholds.LOCK_SECONDS
        age = age_cell(picture.lock_age_s(number), limit)
    others = [other for other in blockers(wait) if other != parent] if wait else []
    blocked = picture.blocked.get(number, ())
    state = joined(
        (
            f"waits{' also' if parent else ''} for {', '.join(others)}" if others else "waits" if wait else "",
            f"blocks {len(blocked)}" if blocked else "",
            "orphaned" if orphaned else "",
        )
    )
    cells = (
        Cell(number, by=int(number) if number.isdecimal() else number),
        Cell(picture.user(number)),
        Cell(f"wants {mode.lower()}" if wait else mode.lower()),
        Cell(short_name(name) + (f" +{more}" if more > 0 else "")),
        age,
        Cell(state, style=BOLD if blocked or wait else "", level=age.level if orphaned else Level.FINE),
        Cell(one_line(picture.text(number))),
    )
    said = " ".join(text_of(each.get("locked_object")) for each in held) + (str(wait["locked_object"]) if wait else "")
    return Row(f"statement {number}", cells, number, said, partial(picture.detail, number), branch)


def _weight(picture: Picture, number: str, lock: Record) -> tuple[bool, bool, int]:
    """What puts the lock first that says most: one that others wait for, an exclusive one, one of a table."""
    name = text_of(lock.get("locked_object"))
    wanted = any(name in str(wait["locked_object"]).split(",") for wait in picture.blocked.get(number, ()))
    return not wanted, text_of(lock.get("lock_mode")) != EXCLUSIVE, -name.count("$")
