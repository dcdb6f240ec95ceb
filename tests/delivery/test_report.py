"""The report: what it tells, that hostile text does nothing in it, and that it stays small."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import html.parser
import random
import re
import time
from typing import Any, Iterator, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqmon.clock import utc_stamp
from sqmon.delivery.report.amounts import Course, Groups, Largest
from sqmon.delivery.report.gathering import Gathering
from sqmon.delivery.report.html import element
from sqmon.delivery.report.page import MOST_BYTES, page
from sqmon.delivery.report.times import Times, zone
from sqmon.lifetimes.gaps import Gap
from sqmon.lifetimes.lines import Line
from sqmon.lifetimes.polls import Poll
from sqmon.records.sql_text import masked
from tests.lifetimes.site import NOON_NS, SECOND, Site, lock, own, statement

HOSTILE = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\" onload='x' \u202e\x00\x1b[31m"
UPDATE = "update t set x = 'Ann'"


class Reported(Site):
    """A site whose polls are gathered for a report."""

    def __init__(self, since: Optional[float] = None) -> None:
        super().__init__()
        self.found = Gathering(None if since is None else NOON_NS + round(since * SECOND))
        self.event("start", 0, cluster="prod")

    def event(self, event: str, at: float, **fields: Any) -> None:
        """Write an event of the service."""
        self.found.hear({"ts": utc_stamp(NOON_NS + round(at * SECOND)), "event": event, **fields})

    def poll(self, metric: str, at: float, rows: Any, *, lasts: float = 0.5, run_id: str = "run") -> list[Line]:
        """Take a good poll, with its event."""
        self._polls += 1
        began_ns = NOON_NS + round(at * SECOND)
        poll = Poll(metric, run_id, self._polls, began_ns, began_ns + round(lasts * SECOND), rows)
        self.event("poll", at + lasts, target=metric, status="ok", rows=len(rows), duration_ms=lasts * 1000)
        lines = self.lifetimes.take(poll)
        self.found.saw(poll, lines)
        return lines

    def report(self, until: float, sql: str = "full") -> str:
        """Return the page of what was seen until then."""
        end_ns = NOON_NS + round(until * SECOND)
        self.found.close(self.lifetimes.unfinished(), end_ns, running=True)
        rewrite = {"full": lambda text: text, "masked": masked, "none": lambda _: None}[sql]
        return page(self.found, source="/logs", sql=sql, rewrite=rewrite, made_ns=end_ns)


class Reader(html.parser.HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Optional[str]]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.styles: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        """Note a tag that begins."""
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Take that the innermost open tag ends."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text."""
        (self.styles if self.open and self.open[-1] == "style" else self.texts).append(data)


def waiting(site: Reported) -> None:
    """Let statement 2 wait for a lock of statement 1, which is held for 20 seconds."""
    for at in range(0, 20, 2):
        site.locks(at, lock(1, username="etl"))
        blocked = statement(2, UPDATE, since=2, status="Preparing", user_name="ann", statement_hash="aa")
        site.statements(at + 1, *([statement(1, since=0, statement_hash="bb")]), *([blocked] if at >= 4 else []))
    site.locks(20)
    site.statements(21)


def test_page_tells_who_waited_for_whom() -> None:
    """The statement that held up another is named with its lock, the one that waited, and the durations."""
    site = Reported()
    waiting(site)
    text = " ".join(Reader(site.report(22)).texts)

    assert "Statement 1 held up 1 other, for at least " in text
    assert "2 waits for 1" in text
    assert "1 holds public.t (update)" in text
    assert re.search(r"blocked statements\s+· needs attention\s+1", text)
    assert "SQreamDB prod" in text


@pytest.mark.parametrize(("sql", "there"), [("full", True), ("masked", False), ("none", False)])
def test_sql_is_shown_as_asked_for(sql: str, there: bool) -> None:
    """Literals are on the page in full mode alone, and the text in no other way where it is not to be shown."""
    site = Reported()
    waiting(site)
    text = site.report(22, sql)

    assert there == ("Ann" in text)
    assert (sql == "none") == ("update t" not in text)


def test_hostile_text_does_nothing() -> None:
    """Whatever SQL, names, errors and reasons hold, the page has no script, no outside reference, and one style that its policy names."""
    site = Reported()
    site.event("start", 0, cluster=HOSTILE)
    for at in (0, 2, 4):
        site.locks(at, lock(1, f"table$master$public${HOSTILE}$Update", username=HOSTILE, statement_string=HOSTILE * 20))
        rows = [statement(1, HOSTILE * 20, user_name=HOSTILE, service=HOSTILE, instanceid=HOSTILE, status=HOSTILE, statement_hash="bb")]
        rows.append(statement(2, f"update {HOSTILE} set x = 1", status="Preparing", user_name=HOSTILE, statement_hash=HOSTILE))
        site.poll("show_server_status", at + 1, [*rows, own(1000 + at, at + 1.1)])
        site.poll("show_cluster_nodes", at + 1.5, [{"instance_id": HOSTILE, "server_ip": HOSTILE, "server_port": 1}])
        site.poll("get_license_info", at + 1.6, [{"compress_type": f"{HOSTILE}{at}", "size_used_ratio": 0.5}])
    site.event("poll", 7, target=HOSTILE, status="error", error=HOSTILE)
    site.event("gap", 8, target=HOSTILE, since=utc_stamp(NOON_NS), until=utc_stamp(NOON_NS + 5 * SECOND), reason=HOSTILE)
    read = Reader(site.report(9))

    assert {tag for tag, _ in read.tags}.isdisjoint({"script", "img", "link", "iframe", "object", "base", "form", "foreignobject"})
    for tag, attributes in read.tags:
        assert [name for name in attributes if name.startswith("on") or name in ("style", "src", "xlink:href")] == []
        assert tag != "a" or str(attributes["href"]).startswith("#")
    (style,) = read.styles
    (policy,) = [attributes["content"] for _, attributes in read.tags if attributes.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'" == policy
    assert "url(" not in style.replace("url(#hatch)", "")
    assert [] == read.open
    assert all(character.isprintable() or character == "\n" for text in read.texts for character in text)


def test_gaps_of_the_monitor_are_told() -> None:
    """A gap is in the table with its reason, its metric and how long it was, and counted in the summary."""
    site = Reported()
    site.locks(0)
    since, until = (utc_stamp(NOON_NS + second * SECOND) for second in (10, 70))
    site.event("gap", 71, target="show_locks", since=since, until=until, reason="host was down")
    site.locks(80)
    text = " ".join(Reader(site.report(82)).texts)

    assert re.search(r"monitor blind\s+· needs attention\s+1 min\s+1 gap, 0 failed polls", text)
    assert re.search(r"show_locks\s+\S+\s+\S+\s+1 min\s+host was down", text)


def test_what_was_before_the_range_is_left_out() -> None:
    """Locks and gaps that were over before the range are not in the report; a lock that reaches into it is."""
    site = Reported(since=100)
    site.locks(0, lock(1, "table$master$public$early$Update"), lock(2, "table$master$public$late$Update"))
    site.locks(10, lock(2, "table$master$public$late$Update"))
    site.locks(110, lock(2, "table$master$public$late$Update"))
    since, until = (utc_stamp(NOON_NS + second * SECOND) for second in (10, 70))
    site.event("gap", 111, target="show_locks", since=since, until=until, reason="long ago")
    text = site.report(120)

    assert "public$late" in text
    assert "public$early" not in text
    assert "long ago" not in text


def test_page_stays_within_its_size() -> None:
    """However many statements there are and however long, the page has at most five megabytes, and counts what it leaves out."""
    site = Reported()
    rng = random.Random(1)
    for at in range(0, 30, 2):
        texts = [f"select {HOSTILE} {'&' * 32_000} {rng.random()}" for _ in range(40)]
        rows = [statement(100 * at + number, text, since=at, statement_hash=f"{at}-{number}") for number, text in enumerate(texts)]
        site.statements(at, *rows)
        site.locks(at + 1, *(lock(100 * at + number, statement_string=text) for number, text in enumerate(texts)))
    text = site.report(30)

    assert len(text.encode()) <= MOST_BYTES
    assert "Not shown: 550 statements that took less time." in text
    assert "more characters)" in text


def test_gap_without_end_lasts_until_the_end_of_the_range() -> None:
    """A metric that was not polled any more is blind until the end of the range."""
    found = Gathering(None)
    found.hear({"ts": utc_stamp(NOON_NS), "event": "start"})
    found.hear({"ts": utc_stamp(NOON_NS), "event": "poll", "target": "show_locks", "status": "ok", "duration_ms": 1.0})
    found.hear({"ts": utc_stamp(NOON_NS + SECOND), "event": "stop"})
    found.close([], NOON_NS + 3600 * SECOND, running=False)

    assert [Gap("show_locks", NOON_NS, None, "stopped")] == [*found.gaps]
    assert 3600 == found.polled["show_locks"].blind_s


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this host be in Berlin, where the summer of 2026 ended on 25 October."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("begin", "seconds", "expected"),
    [
        ("2026-10-23T10:30:00", 6 * 86400, ["10-24", "10-25", "10-26", "10-27", "10-28", "10-29"]),
        ("2026-10-01T00:00:00", 30 * 86400, ["10-01", "10-05", "10-09", "10-13", "10-17", "10-21", "10-25", "10-29"]),
        ("2026-11-24T10:29:58", 5, ["10:29:58", "10:29:59", "10:30:00", "10:30:01", "10:30:02", "10:30:03"]),
        ("2026-11-24T10:20:00", 2400, ["10:20", "10:25", "10:30", "10:35", "10:40", "10:45", "10:50", "10:55", "11:00"]),
        ("2026-11-24T20:20:00", 6 * 3600, ["11-24 21:00", "11-24 22:00", "11-24 23:00", "11-25 00:00", "11-25 01:00", "11-25 02:00"]),
    ],
)
def test_ticks_are_round_local_times(begin: str, seconds: int, expected: list[str]) -> None:
    """Ticks are round in local time, and days begin at midnight also when the clocks were changed between them."""
    begin_ns = int(dt.datetime.fromisoformat(begin).astimezone().timestamp()) * 10**9

    assert expected == [text for _, text in Times(begin_ns, begin_ns + seconds * 10**9).ticks()]


@pytest.mark.usefixtures("berlin")
def test_zone_of_the_page_is_named() -> None:
    """A time shows which zone it is in, on either side of the change of the clocks."""
    summer, winter = (int(dt.datetime(2026, month, 1, tzinfo=dt.timezone.utc).timestamp()) * 10**9 for month in (7, 12))

    assert ["CEST (UTC+02:00)", "CET (UTC+01:00)"] == [zone(summer), zone(winter)]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 1000)), min_size=1, max_size=60))
def test_course_keeps_least_and_most(seen: list[tuple[int, int]]) -> None:
    """However long the time is, there are few spans, and each has the least and the most of what was seen in it."""
    course = Course(most_bins=8)
    for second, value in seen:
        course.add(second * SECOND, value)
    bins = course.bins()

    assert len(bins) <= 8
    assert max(value for _, value in seen) == (course.peak or (0, 0))[0]
    for each in bins:
        values = [value for second, value in seen if each.start_ns <= second * SECOND < each.start_ns + course.width_ns]
        assert (min(values), max(values)) == (each.least, each.most)


@given(st.lists(st.integers(0, 50), max_size=60))
def test_largest_keeps_the_largest(sizes: list[int]) -> None:
    """The largest are kept, the earlier one of equals, and the others are counted."""
    largest: Largest[int] = Largest(5)
    for place, size in enumerate(sizes):
        largest.add(size, place)

    assert [place for _, place in sorted((-size, place) for place, size in enumerate(sizes))][:5] == [*largest]
    assert len(sizes) - len(largest) == largest.left_out


def test_groups_give_up_the_smaller_half() -> None:
    """When there are too many groups, the larger half stays, and the others are counted."""
    groups: Groups[list[int]] = Groups(4, list, lambda group: (len(group),))
    for key, size in zip("abcd", (3, 1, 4, 2)):
        groups[key].extend([0] * size)
    groups["e"].append(0)

    assert [("c", 4), ("a", 3), ("e", 1)] == [(key, len(group)) for key, group in groups.largest()]
    assert 2 == groups.left_out


def test_elements_escape_their_content() -> None:
    """Texts and attributes are escaped, Html is not, and None is left out."""
    assert '<p class="&lt;&quot;">&lt;b&gt;<i>x</i>1.5</p>' == element("p", "<b>", element("i", "x"), None, 1.5, class_='<"', title=None)
