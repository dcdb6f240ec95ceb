"""The Loki of these tests answers as a real one does, word for word; recorded from Loki 3.4.6."""

from __future__ import annotations

import json
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from sqmon.clock import stamp_ns
from tests.support.loki import asked
from tests.support.loki_stand_in import LokiStandIn, serving

RECORDINGS: dict[str, dict[str, Any]] = {
    each["name"]: each for each in json.loads((Path(__file__).parent.parent / "support" / "loki_recordings.json").read_text("utf-8"))
}
REFUSED = [name for name, each in RECORDINGS.items() if each.get("refused")]
PUSHES = [name for name, each in RECORDINGS.items() if each["request"]["path"].endswith("/push") and name not in REFUSED]


def answered(url: str, request: dict[str, Any]) -> tuple[int, str]:
    """Return status and text of an answer, without Loki's statistics."""
    query = urllib.parse.urlencode(request["query"])
    status, text = asked(f"{url}{request['path']}?{query}" if query else url + request["path"], request.get("body", "").encode() or None)
    return status, text.split(',"stats":')[0]


@pytest.fixture(scope="module")
def loki() -> LokiStandIn:
    """Return one that holds the lines of the recordings."""
    filled = LokiStandIn()
    for name in PUSHES:
        filled.push(RECORDINGS[name]["request"]["body"].encode())
    for stream in json.loads(RECORDINGS["paging-over-the-hour-all"]["answer"] + "}}")["data"]["result"]:
        labels = {name: value for name, value in stream["stream"].items() if name not in ("detected_level", "service_name", "run_id")}
        for ts, line in stream["values"]:
            filled.put(labels, int(ts), line, **{name: value for name, value in stream["stream"].items() if name == "run_id"})
    return filled


@pytest.mark.parametrize("name", [name for name in RECORDINGS if name not in (*PUSHES, *REFUSED)])
def test_answers_are_those_of_a_real_loki(loki: LokiStandIn, name: str) -> None:
    """Status and text are what was recorded; the rest of a successful answer is Loki's statistics."""
    recorded = RECORDINGS[name]
    loki.required = {"X-Scope-OrgID": "team"} if name.startswith("tenant") else {}
    old = [entry for stream in loki.streams.values() for entry in stream if "T10:02:16" in entry.line]
    for entry in old:
        entry.flushed = name != "unflushed-old-count"
    loki.look_back_s, loki.now_ns = 2 * 3600 + 41 * 60, lambda: stamp_ns("2026-11-25T15:02:16.384484273Z")

    with serving(loki) as url:
        assert (recorded["status"], recorded["answer"]) == answered(url, recorded["request"])


def test_pushed_lines_are_taken(loki: LokiStandIn) -> None:
    """The pushes of the recordings are answered with 204, and copies of a line are counted and shown once."""
    copy = LokiStandIn()
    with serving(copy) as url:
        assert {(204, "")} == {answered(url, RECORDINGS[name]["request"]) for name in PUSHES}
    assert copy.streams.keys() <= loki.streams.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_refused_lines_are_refused_in_the_same_words(name: str) -> None:
    """Lines that are too old, or too far behind their stream, are refused as they were, and the others of the request are kept."""
    recorded, loki = RECORDINGS[name], LokiStandIn()
    loki.now_ns = lambda: stamp_ns("2026-11-25T15:02:16.384484273Z")
    loki.oldest_s, loki.behind_s = 8 * 24 * 3600.0, 3600.0
    (stream,) = json.loads(recorded["request"]["body"])["streams"]
    if "behind" in name:
        newest = {"stream": stream["stream"], "values": [[str(loki.now_ns()), "newest"]]}
        loki.push(json.dumps({"streams": [newest]}).encode())
    with serving(loki) as url:
        assert (recorded["status"], recorded["answer"]) == answered(url, recorded["request"])
    assert 1 == sum(map(len, loki.streams.values()))
