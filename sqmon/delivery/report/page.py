"""The page of a report: its head, the summary, and the sections, in at most five megabytes."""

from __future__ import annotations

import base64
import hashlib
from typing import Callable, NamedTuple, Optional

from sqmon import __version__
from sqmon.config.typed_time import in_words
from sqmon.delivery.report.figures import lasted_s
from sqmon.delivery.report.gathering import Gathering
from sqmon.delivery.report.html import Html, element
from sqmon.delivery.report.sections import Sections
from sqmon.delivery.report.style import STYLE
from sqmon.delivery.report.surroundings import Surroundings
from sqmon.delivery.report.texts import Sql
from sqmon.delivery.report.times import Times, local, zone
from sqmon.words import counted

MOST_BYTES = 5_000_000
_TEXT_LENGTHS = (4000, 1000, 200)
_POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
_SOON_DAYS = 30
_NEARLY_FULL = 0.9
_LONG_S = 300


class Card(NamedTuple):
    """A figure of the summary; `state` is good, warn, bad, or "" for neither."""

    label: str
    figure: str
    note: str
    state: str = ""


def page(found: Gathering, *, source: str, sql: str, rewrite: Callable[[str], Optional[str]], made_ns: int) -> str:
    """Return the report as HTML; long SQL texts are cut to fewer characters where it would have more than MOST_BYTES."""
    times = Times(found.begin_ns, found.end_ns)
    for most in _TEXT_LENGTHS:
        text = _page(found, times, Sql(rewrite, most), source=source, mode=sql, made_ns=made_ns)
        if len(text.encode()) <= MOST_BYTES:
            break
    return text


def _page(found: Gathering, times: Times, sql: Sql, *, source: str, mode: str, made_ns: int) -> str:
    sections, around = Sections(found, times, sql), Surroundings(found, times)
    listed = (
        ("time", "Over the time", sections.course),
        ("blocked", "Who blocked whom", sections.blocked),
        ("locks", "Locks held longest", sections.locks),
        ("statements", "Statements", sections.statements),
        ("runs", "Longest runs", sections.longest),
        ("workers", "Workers and nodes", around.workers),
        ("licence", "Licence", around.licence),
        ("monitor", "The monitor itself", around.monitor),
    )
    name = str(found.start.get("cluster") or found.start.get("host") or source)
    title = f"SQreamDB {name}"
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY.format(digest)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{title}: {_moment(times.begin_ns)} to {_moment(times.end_ns)}"),
        Html(f"<style>{STYLE}</style>"),
    )
    range_text = f"{_moment(times.begin_ns)} to {_moment(times.end_ns)}, {in_words(times.seconds)}. All times are local: {_zones(times)}."
    body = element(
        "body",
        element("header", element("h1", title), element("p", range_text, class_="quiet")),
        element("nav", *(element("a", heading, href=f"#{key}") for key, heading, _ in listed), aria_label="Sections"),
        element(
            "main",
            element("dl", *map(_card, cards(found)), class_="cards"),
            *(element("section", element("h2", heading, id=key), write()) for key, heading, write in listed),
        ),
        _footer(found, source, mode, made_ns),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def cards(found: Gathering) -> list[Card]:
    """Return the summary."""
    longest_lock = next(iter(found.locks), None)
    longest_wait = next(iter(found.waits), None)
    longest_queue = next(iter(found.queued), None)
    blind_s = max((polled.blind_s for _, polled in found.polled.largest()), default=0.0)
    failed = sum(polled.statuses["error"] + polled.statuses["timeout"] for _, polled in found.polled.largest())
    listed = [
        Card(
            "longest lock",
            f"over {in_words(lasted_s(longest_lock))}" if longest_lock else "none",
            f"{counted(found.locks.total, 'lock')}, at most {found.held.peak[0] if found.held.peak else 0:,.0f} at once",
            "warn" if longest_lock and lasted_s(longest_lock) > _LONG_S else "good",
        ),
        Card(
            "blocked statements",
            f"{found.waits.total:,}",
            f"the longest for at least {in_words(lasted_s(longest_wait))}" if longest_wait else "none was seen waiting for a lock",
            "bad" if longest_wait else "good",
        ),
        Card(
            "orphaned locks",
            f"{found.orphans.total:,}",
            "held although their statement was gone" if found.orphans.total else "each lock had its statement",
            "bad" if found.orphans.total else "good",
        ),
        Card(
            "runs of statements",
            f"{found.runs.total:,}",
            f"the longest in the queue {in_words(longest_queue.queued_s)}" if longest_queue else "none was seen in the queue",
            "warn" if longest_queue and longest_queue.queued_s > _LONG_S else "good",
        ),
        Card(
            "nodes that went down",
            f"{found.down.total:,}",
            f"at most {found.up.peak[0]:,.0f} were up" if found.up.peak else "nodes were not polled",
            "bad" if found.down.total else "good" if found.up.peak else "",
        ),
        _licence(found),
        Card(
            "monitor blind",
            in_words(blind_s) if blind_s else "never",
            f"{counted(found.gaps.total, 'gap')}, {counted(failed, 'failed poll')}"
            if found.gaps.total or failed
            else "no gap, no failed poll",
            "bad" if blind_s else "warn" if failed else "good",
        ),
    ]
    if found.restarts.total:
        listed.append(Card("restarts of SQreamDB", f"{found.restarts.total:,}", "statement ids began again", "bad"))
    return listed


def _licence(found: Gathering) -> Card:
    row = found.licence
    if not row:
        return Card("licence", "unknown", "it was not polled")
    days, used = row.get("days_to_expiration"), row.get("size_used_ratio")
    figure = f"{used:.0%} used" if isinstance(used, (int, float)) else "known"
    note = f"expires in {counted(round(days), 'day')}" if isinstance(days, (int, float)) else "no day of expiry is known"
    over = (isinstance(used, (int, float)) and used >= 1) or (isinstance(days, (int, float)) and days < 0)
    near = (isinstance(used, (int, float)) and used >= _NEARLY_FULL) or (isinstance(days, (int, float)) and days < _SOON_DAYS)
    return Card("licence", figure, note, "bad" if over else "warn" if near else "good")


_STATES = {"bad": "needs attention", "warn": "worth a look"}


def _card(card: Card) -> Html:
    state = _STATES.get(card.state)
    return element(
        "div",
        element("dt", card.label, element("span", f" · {state}", class_="flag") if state else None),
        element("dd", card.figure, class_="figure"),
        element("dd", card.note, class_="note"),
        class_=card.state or None,
    )


def _footer(found: Gathering, source: str, mode: str, made_ns: int) -> Html:
    shown = {"full": "whole, but for passwords and keys", "masked": "with every literal as ?", "none": "not shown"}[mode]
    return element(
        "footer",
        element(
            "p", f"Made by sqmon {__version__} on {_moment(made_ns)} from {source}: {found.rows:,} rows of polls. SQL text is {shown}."
        ),
        element(
            "p",
            "A bar is solid while something was seen, and pale between the polls where it may have begun or ended. Durations have the"
            " same bounds. What was shorter than the interval between two polls may not have been seen at all.",
        ),
    )


def _moment(ns: int) -> str:
    return f"{local(ns):%Y-%m-%d %H:%M:%S}"


def _zones(times: Times) -> str:
    first, last = zone(times.begin_ns), zone(times.end_ns)
    return first if first == last else f"{first}, then {last}"
