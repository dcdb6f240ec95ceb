"""Lifetimes for people: local times with their zone, durations in words, waiters below those they wait for."""

from __future__ import annotations

import datetime as dt
from typing import Optional, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from sqmon.clock import stamp_ns
from sqmon.config.typed_time import in_words
from sqmon.errors import shown
from sqmon.lifetimes.durations import between
from sqmon.lifetimes.gaps import Gap
from sqmon.lifetimes.history import History
from sqmon.lifetimes.lines import Line

_TEXT = 100  # characters of a statement that are shown
_ENDS = {"went_on": "went on", "gone": "gave up or ended", "let_in": "got its lock", "released": "nothing was in the way any more"}
_NOTE = (
    "Waiters are inferred: SQreamDB shows locks that were obtained, not requests, and a statement gives up after statementLockTimeout"
    " (3 s by default), so short waits are missed."
)


def show(kind: str, since: dt.datetime, until: dt.datetime, history: History, gaps: Sequence[Gap], *, console: Console) -> None:
    """Print the lifetimes of a kind, or the gaps, of a range of time."""
    view = _View(since, until)
    lives = [] if kind == "gaps" else history.of(kind)
    count = len(gaps) if kind == "gaps" else len(lives)
    lines = [Text(f"{kind} from {since:%Y-%m-%d %H:%M:%S} to {until:%Y-%m-%d %H:%M:%S %Z}: {count}", "bold")]
    if kind != "gaps":
        lines += [Text(f"the monitor was blind: {view.gap(gap)}", "red") for gap in gaps]
    if count:
        tables = {"locks": view.locks, "statements": view.statements, "nodes": view.nodes}
        lines += [Text(), *(tables[kind](lives, history) if kind in tables else view.gaps(gaps))]
    for line in lines:
        # A line is as long as it is: a terminal folds it, a file keeps it.
        console.print(line, soft_wrap=True)


class _View:
    """The lines of one range; a time shows its date only where the range has several."""

    def __init__(self, since: dt.datetime, until: dt.datetime) -> None:
        self._day = since.date() if since.date() == until.date() else None

    def locks(self, lives: Sequence[Line], history: History) -> list[Text]:
        """Return locks below their statement, each with those who wait for it."""
        rows = [
            [str(lock.get("lock_mode")), str(lock.get("locked_object")), *self._life(lock), "orphaned" if lock.get("orphaned") else ""]
            for lock in lives
        ]
        lines: list[Text] = []
        holder: tuple[object, ...] = ()
        for lock, line in zip(lives, _aligned(["mode", "object", "began", "ended", "held", ""], rows)[1:]):
            key = lock["statement_id"], lock.get("statement_start_time")
            if key != holder:
                holder = key
                lines.append(Text.assemble((f"statement {lock['statement_id']}", "bold"), f" of {_who(lock)}: ", _text(lock)))
            lines.append(Text("  ") + line)
            lines += [self._wait(wait) for wait in history.waiters(lock)]
        return [*lines, Text(f"\n{_NOTE}", style="dim")]

    def statements(self, lives: Sequence[Line], _: History) -> list[Text]:
        """Return statements with their texts."""
        names = ("statement_id", "username", "service", "status")
        rows = [[*(str(life.get(name) or "") for name in names), *self._life(life), _text(life).plain] for life in lives]
        return _aligned(["statement", "user", "service", "status", "began", "ended", "lasted", "text"], rows)

    def nodes(self, lives: Sequence[Line], _: History) -> list[Text]:
        """Return the times that nodes were up."""
        rows = [[str(life["instance_id"]), f"{life['server']}:{life['port']}", *self._life(life)] for life in lives]
        return _aligned(["node", "address", "up since", "down", "was up"], rows)

    def gaps(self, gaps: Sequence[Gap]) -> list[Text]:
        """Return when the monitor was blind."""
        rows = [
            [
                gap.target or "all",
                self._time(gap.since_ns),
                "now" if gap.until_ns is None else self._time(gap.until_ns),
                "" if gap.until_ns is None else in_words((gap.until_ns - gap.since_ns) / 1e9),
                _reason(gap),
            ]
            for gap in gaps
        ]
        return _aligned(["metric", "since", "until", "for", "reason"], rows)

    def gap(self, gap: Gap) -> str:
        """Return a gap in a sentence."""
        until = "now" if gap.until_ns is None else self._time(gap.until_ns)
        return f"{gap.target or 'all metrics'} from {self._time(gap.since_ns)} to {until}: {shown(_reason(gap))}"

    def _wait(self, wait: Line) -> Text:
        began, ended, held = self._life(wait)
        when = f"from {began}" + (f" to {ended}" if ended else "")
        end = _ENDS.get(wait.get("end", ""), "")
        said = f"    └ statement {wait['statement_id']} of {_who(wait)} waited {held} ({when})" + (f" and {end}: " if end else ": ")
        return Text.assemble((said, "yellow"), _text(wait))

    def _life(self, life: Line) -> tuple[str, str, str]:
        going = life["ended_before"] is None
        ended = "" if going else self._span(life["ended_after"], life["ended_before"])
        held = between(life["held_min_s"], life["held_max_s"])
        return self._span(life["began_after"], life["began_before"]), ended, f"{held} so far" if going else held

    def _span(self, after: Optional[str], before: str) -> str:
        """Between which times something happened."""
        last = self._time(stamp_ns(before))
        if after is None:
            return f"before {last}"
        first = self._time(stamp_ns(after))
        if first == last:
            return last
        return f"{first}..{last[6:]}" if first[:-2] == last[:-2] and len(first) == len("00:00:00") else f"{first}..{last}"

    def _time(self, ns: int) -> str:
        moment = dt.datetime.fromtimestamp(ns // 10**9, dt.timezone.utc).astimezone()
        return f"{moment:%H:%M:%S}" if moment.date() == self._day else f"{moment:%m-%d %H:%M:%S}"


def _aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Text]:
    """Return the headings and the rows as lines whose columns stand below each other."""
    table = [headings, *([shown(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table)]
    lines = ["  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths)).rstrip() for row in table]
    return [Text(line, "dim" if number == 0 else "") for number, line in enumerate(lines)]


def _who(life: Line) -> str:
    return shown(str(life.get("username") or "an unknown user"))


def _text(life: Line) -> Text:
    """The beginning of a statement, on one line."""
    text = " ".join(str(life.get("statement") or "").split())
    return Text(shown(text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"), style="dim")


def _reason(gap: Gap) -> str:
    return gap.reason if gap.first_seq is None else f"{gap.reason} (records {gap.first_seq} to {gap.last_seq} were lost)"
