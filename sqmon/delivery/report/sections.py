"""The sections of a report: what stands in each, for people."""

from __future__ import annotations

from typing import Sequence

from sqmon.config.typed_time import in_words
from sqmon.delivery.report.charts import Bar, Lane, Row, bar_of, bars, close_up, lanes, legend
from sqmon.delivery.report.figures import Blocker, Run
from sqmon.delivery.report.gathering import Gathering
from sqmon.delivery.report.html import Content, Html, element, joined
from sqmon.delivery.report.tables import Column, left_out, names_of, table
from sqmon.delivery.report.texts import Sql, object_name, weight
from sqmon.delivery.report.times import Times
from sqmon.lifetimes import licence, locks, nodes, statements
from sqmon.lifetimes.durations import between
from sqmon.lifetimes.lines import Line
from sqmon.words import counted

_KINDS = {"in queue": "queue", "preparing": "queue", "initializing": "queue"}
_NOTE = (
    "Waiters are inferred: SQreamDB shows locks that were obtained, not requests, and a statement gives up after statementLockTimeout"
    " (3 s by default), so short waits are missed."
)


_MOST_HOLDERS = 25
_MOST_OBJECTS = 8


class Sections:
    """Writes the sections of one report."""

    def __init__(self, found: Gathering, times: Times, sql: Sql) -> None:
        self._found = found
        self._times = times
        self._sql = sql

    def course(self) -> Html:
        """Return the numbers over the time."""
        found = self._found
        shown = [
            Lane("locks held", "lock", found.held, locks.METRIC),
            Lane("statements blocked", "wait", found.blocked, locks.METRIC),
            Lane("statements executing", "run", found.running, statements.METRIC),
            Lane("queued or prepared", "queue", found.waiting, statements.METRIC),
            Lane("nodes up", "node", found.up, nodes.METRIC),
        ]
        if found.used.peak:
            shown.append(Lane("licence used", "node", found.used, licence.METRIC, percent=True))
        note = f"Each step is the most within {in_words(max(lane.course.width_ns for lane in shown) / 1e9)} or less."
        blind = " Hatched: the monitor did not see that metric." if len(found.gaps) else ""
        return element("figure", lanes(self._times, shown, found.gaps), element("figcaption", note + blind))

    def blocked(self) -> Html:
        """Return who waited for whom: a chart for each statement that held up others."""
        blockers = [each for each in self._found.blockers.largest() if each[1].waits.total]
        if not blockers:
            return element("p", "No statement was seen waiting for a lock. ", _NOTE)
        shown = blockers[:15]
        parts = [
            element("p", _NOTE),
            legend(("lock", "holds the lock"), ("wait", "waits for it"), ("lock maybe", "perhaps, between two polls")),
        ]
        parts += [self._blocker(number, blocker) for (_, number), blocker in shown]
        left = len(blockers) - len(shown) + self._found.blockers.left_out
        return joined(*parts, left_out(left, "further statement that held up others", "further statements that held up others"))

    def _blocker(self, number: str, blocker: Blocker) -> Html:
        waits = [*blocker.waits]
        total = blocker.waits.total
        heading = f"Statement {number} held up {counted(total, 'other')}, for at least {in_words(blocker.waited_s)} together"
        end_ns = self._found.end_ns
        wanted = {name for wait in waits for name in str(wait.get("locked_object") or "").split(",")}
        held = [lock for lock in blocker.locks if lock.get("locked_object") in wanted]
        rows = [Row(f"{number} holds {object_name(lock)}", [bar_of(lock, "lock", self._title(lock), end_ns)]) for lock in held]
        rows += [
            Row(
                f"{wait.get('statement_id')} waits for {_first_of(wait.get('blocked_by'))}",
                [bar_of(wait, "wait", self._title(wait), end_ns)],
            )
            for wait in waits
        ]
        said = [lock.get("statement") for lock in blocker.locks if lock.get("statement")]
        who = next((str(lock["username"]) for lock in blocker.locks if lock.get("username")), "")
        text = joined(element("span", f"{who}: " if who else "", class_="quiet"), self._sql.whole(said[0])) if said else Html("")
        listed = table(
            [Column("who waited"), Column("since", "time"), Column("for", "span"), Column("on"), Column("text", "sql")],
            [
                [
                    f"{wait.get('statement_id')} of {wait.get('username') or 'an unknown user'}",
                    self._times.span(wait["began_after"], wait["began_before"]),
                    between(wait["held_min_s"], wait["held_max_s"]),
                    ", ".join(str(wait.get("locked_object") or "").split(",")),
                    self._sql.whole(wait.get("statement")),
                ]
                for wait in waits
            ],
        )
        chart = element("figure", bars(close_up(self._times, rows), rows, heading))
        return joined(element("h3", heading), text, chart, listed, left_out(blocker.waits.left_out, "shorter wait", "shorter waits"))

    def locks(self) -> Html:
        """Return the locks that were held longest, those of a statement together."""
        holders: dict[tuple[object, ...], list[Line]] = {}
        for lock in self._found.locks:
            holders.setdefault((lock.get("statement_id"), lock.get("statement_start_time")), []).append(lock)
        if not holders:
            return element("p", "No lock was seen.")
        shown = [sorted(held, key=weight) for held in holders.values()][:_MOST_HOLDERS]
        in_order = sorted(shown, key=lambda held: str(held[0]["began_before"]))
        chart = bars(
            self._times,
            [
                Row(
                    f"{held[0].get('statement_id')} holds {object_name(held[0])}",
                    [bar_of(held[0], "lock", self._title(held[0]), self._found.end_ns)],
                )
                for held in in_order
            ],
            "The locks that were held longest, of each statement the longest",
        )
        rows: list[list[Content]] = [
            [
                f"{held[0].get('statement_id')} of {held[0].get('username') or 'an unknown user'}",
                joined(*(self._lock(lock) for lock in held[:_MOST_OBJECTS]), left_out(len(held) - _MOST_OBJECTS, "lock", "locks")),
                self._times.span(held[0]["began_after"], held[0]["began_before"]),
                self._held(held[0]),
                self._sql.whole(held[0].get("statement")),
            ]
            for held in shown
        ]
        columns = [Column("statement"), Column("locks"), Column("since", "time"), Column("for", "span"), Column("text", "sql")]
        left = self._found.locks.total - sum(map(len, shown))
        return joined(
            element("figure", chart), table(columns, rows), left_out(left, "lock that was held for less", "locks that were held for less")
        )

    def _lock(self, lock: Line) -> Html:
        flag = element("span", " orphaned", class_="flag") if lock.get("orphaned") else None
        return element("div", f"{lock.get('lock_mode') or ''} {lock.get('locked_object') or ''}", flag)

    def statements(self) -> Html:
        """Return statements by their hash, the most expensive first."""
        groups = self._found.statements.largest()
        shown = [(key, group) for key, group in groups if group.runs][:50]
        if not shown:
            return element("p", "No statement of a user was seen.")
        rows: list[list[Content]] = [
            [
                self._sql.whole(group.text) if group.text else element("code", str(key)),
                f"{group.runs:,}",
                in_words(group.total_s),
                in_words(group.longest_s),
                in_words(group.queued_s) if group.queued_s else "",
                f"{group.blocked:,}" if group.blocked else "",
                names_of(group.users),
                names_of(group.services),
                element("code", str(key)),
            ]
            for key, group in shown
        ]
        columns = [Column("statement", "sql"), Column("seen", "number"), Column("at least", "number"), Column("longest", "number")]
        columns += [
            Column("in the queue", "number"),
            Column("blocked", "number"),
            Column("users"),
            Column("services"),
            Column("hash", "time"),
        ]
        left = len(groups) - len(shown) + self._found.statements.left_out
        note = element(
            "p", "Times are how long the runs took at least, together and the longest of them, and how long they queued together."
        )
        return joined(note, table(columns, rows), left_out(left, "statement that took less time", "statements that took less time"))

    def longest(self) -> Html:
        """Return the runs that lasted longest and those that queued longest, with their statuses as bars."""
        runs, queued = [*self._found.runs][:25], [*self._found.queued][:25]
        if not runs:
            return element("p", "No statement of a user was seen.")
        parts = [
            legend(("run", "executing"), ("queue", "queued, being prepared or initialized"), ("run maybe", "perhaps, between two polls"))
        ]
        parts += [element("h3", "Longest"), self._runs(runs, "Statements that lasted longest")]
        if queued:
            parts += [element("h3", "Longest in the queue"), self._runs(queued, "Statements that waited longest in the queue")]
        return joined(*parts, left_out(self._found.runs.total - len(runs), "shorter run of a statement", "shorter runs of statements"))

    def _runs(self, runs: Sequence[Run], label: str) -> Html:
        chart = bars(self._times, [self._run(run) for run in sorted(runs, key=lambda run: str(run.life["began_before"]))], label)
        rows: list[list[Content]] = [
            [
                str(run.life.get("statement_id") or ""),
                str(run.life.get("username") or ""),
                str(run.life.get("service") or ""),
                self._times.span(run.life["began_after"], run.life["began_before"]),
                self._held(run.life),
                in_words(run.queued_s) if run.queued_s else "",
                self._sql.whole(run.life.get("statement")),
            ]
            for run in runs
        ]
        columns = [Column("statement"), Column("user"), Column("service"), Column("began", "time"), Column("lasted", "span")]
        columns += [Column("in the queue", "number"), Column("text", "sql")]
        return joined(element("figure", chart), table(columns, rows))

    def _run(self, run: Run) -> Row:
        whole = bar_of(run.life, "run", self._title(run.life), self._found.end_ns)
        drawn = [whole._replace(begun_ns=whole.latest_ns + 1)]  # pale, below what is certain
        for phase in run.phases:
            seconds = max(0, phase.until_ns - phase.since_ns) / 1e9
            title = f"{phase.status} for at least {in_words(seconds)}; {whole.title}"
            drawn.append(
                Bar(_KINDS.get(phase.status.lower(), "run"), title, phase.since_ns, phase.since_ns, phase.until_ns, phase.until_ns)
            )
        return Row(f"{run.life.get('statement_id')} {run.life.get('username') or ''} · {self._sql.brief(run.life.get('statement'))}", drawn)

    def _held(self, life: Line) -> str:
        return between(life["held_min_s"], life["held_max_s"]) + (" so far" if life["ended_before"] is None else "")

    def _title(self, life: Line) -> str:
        """Return what a bar says when it is pointed at."""
        began = self._times.span(life["began_after"], life["began_before"])
        ended = (
            "still there at the end"
            if life["ended_before"] is None
            else f"ended {self._times.span(life['ended_after'], life['ended_before'])}"
        )
        who = f"statement {life.get('statement_id')} of {life.get('username') or 'an unknown user'}"
        what = f"{life.get('lock_mode') or ''} {life.get('locked_object') or ''}".strip()
        return f"{who}{': ' if what else ''}{what}; began {began}, {ended}; {self._held(life)}"


def _first_of(numbers: object) -> str:
    """Return the first of the statements in the way, and how many more there are."""
    first, *more = str(numbers).split(",")
    return f"{first} and {len(more)} more" if more else first
