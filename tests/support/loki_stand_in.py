"""A Loki that holds lines in memory and answers `sqmon verify` and `sqmon replay` as a real one does, with faults of every kind.

What it answers is held against recordings of a real Loki in tests/delivery/test_loki_stand_in.py.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.server
import json
import re
import ssl
import sys
import threading
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Optional

_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*,?')
_METRIC = re.compile(r"sum(?: by \((\w+)\) )?\((count|bytes|sum)_over_time\((\{.*?\})((?: \|.*?)?) ?\[(\d+)(ms|s|m|h)\]\)\)")
_STAGE = re.compile(r'\| (?:json (?P<json>\w+)="\w+"|unwrap (?P<unwrap>\w+)|__error__=""|(?P<name>\w+) (?P<op><=|>=) (?P<number>\d+))')
_UNITS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LONGEST_QUERY = 131_072
_MOST_ENTRIES = 5000
_LARGEST_PAGE = 4 << 20
_MOST_LISTED = 10
_Sums = dict[tuple[tuple[str, str], ...], "Counter[int]"]
_STATS = '"stats":{"summary":{}}'


@dataclass
class Stored:
    """A line in one stream."""

    ts_ns: int
    line: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    copies: int = 1
    """How often counting finds it; log queries show it once."""
    flushed: bool = True


class Bulk(NamedTuple):
    """A stream too large for memory, known by its figures; a query for it asks for all of it."""

    lines: int
    bytes: int
    seq_sum: int
    first_ns: int
    last_ns: int


class Answer(NamedTuple):
    """An answer that comes instead of what was asked for."""

    status: int
    body: str
    headers: Mapping[str, str] = {}


class RefusalError(Exception):
    """400, or another status, with its text."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class LokiStandIn:
    """The lines, the limits, and the faults."""

    def __init__(self) -> None:
        self.streams: dict[frozenset[tuple[str, str]], list[Stored]] = {}
        self.bulks: dict[frozenset[tuple[str, str]], Bulk] = {}
        self.answers: list[Answer] = []
        """What the next requests are answered, whatever they ask."""
        self.dropped_connections = 0
        """How many of the next requests get no answer."""
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Path and parameters of every request that was understood."""
        self.headers: list[Mapping[str, str]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.required: dict[str, str] = {}
        """Headers without which a request is refused with 401."""
        self.series = 500
        self.skips_lines = True
        """Whether it leaves lines out of pages over a full hour, as Loki 3.4.6 does."""
        self.look_back_s = 0.0
        """Lines older than that are hidden until they are flushed; 0 is off."""
        self.retention_s = 0.0
        self.now_ns: Callable[[], int] = time.time_ns
        self.oldest_s = 0.0
        """Lines that are older are refused; 0 refuses none."""
        self.behind_s = 0.0
        """Lines that are so much older than the newest of their stream in memory are refused; 0 refuses none."""
        self.refuses: Callable[[str], str] = lambda _: ""
        """Says of a line why it is refused, "" when it is not."""
        self.push_faults: list[str] = []
        """What happens to the next pushes, see `_pushed`; the others go well."""
        self.pushed: list[int] = []
        """How many lines each push had."""
        self.flush_status = 204
        self.flushes = 0
        self._known: dict[frozenset[tuple[str, str]], dict[tuple[int, str], Stored]] = {}
        self._in_memory: dict[frozenset[tuple[str, str]], int] = {}
        self.config: Optional[str] = None
        """What /config says, which is usually made of the limits here."""

    def put(self, labels: Mapping[str, str], ts_ns: int, line: str, *, flushed: bool = True, **metadata: str) -> Stored:
        """Store a line; the same line again makes a copy that only counting finds."""
        stream = self.streams.setdefault(frozenset(labels.items()), [])
        stored = Stored(ts_ns, line, metadata, flushed=flushed)
        stream.append(stored)
        return stored

    def push(self, body: bytes) -> Optional[Answer]:
        """Take what an agent or a replay sends as JSON, and return Loki's answer, None when there is none."""
        streams = json.loads(body)["streams"]
        fault = self.push_faults.pop(0) if self.push_faults else ""
        self.pushed.append(sum(len(stream["values"]) for stream in streams))
        if fault.isdigit():
            return Answer(int(fault), "nothing was taken\n", {"Retry-After": "3"} if fault == "429" else {})
        if fault == "lost":
            return Answer(204, "")
        if fault == "no answer":
            return None
        answer = Answer(204, "")
        for stream in streams:
            values = stream["values"][: len(stream["values"]) // 2] if "half" in fault else stream["values"]
            answer = self._taken(stream["stream"], values)  # that of the last stream is the answer
        return Answer(500, "half was taken\n") if fault == "half" else None if "then no answer" in fault else answer

    def _taken(self, labels: Mapping[str, str], values: list[Any]) -> Answer:
        key = frozenset(labels.items())
        known, refused = self._known.setdefault(key, {}), list[str]()
        for ts, line, *metadata in values:
            ts_ns = int(ts)
            reason = self._refusal(labels, ts_ns, line, self._in_memory.get(key, 0))
            if reason:
                refused.append(reason)
                continue
            again = known.get((ts_ns, line))
            if again:
                again.copies += 1
                continue
            hidden = self.look_back_s and self.now_ns() - ts_ns > self.look_back_s * 1e9
            known[ts_ns, line] = self.put(labels, ts_ns, line, flushed=not hidden, **(metadata[0] if metadata else {}))
            self._in_memory[key] = max(ts_ns, self._in_memory.get(key, 0))
        if not refused:
            return Answer(204, "")
        behind = [reason for reason in refused if "too far behind" in reason]
        text = refused[-1]
        if behind:
            ignored = f"user 'fake', total ignored: {len(behind)} out of {len(values)} for stream: {_stream(labels)}"
            text = "".join(f"{reason},\n" for reason in behind[:_MOST_LISTED]) + ignored
        return Answer(500 if "no schema config" in text else 400, f"{text}\n")

    def _refusal(self, labels: Mapping[str, str], ts_ns: int, line: str, newest_ns: int) -> str:
        oldest_ns = self.now_ns() - int(self.oldest_s * 1e9) if self.oldest_s else 0
        if ts_ns < oldest_ns:
            ends = f"{_day(ts_ns)}, oldest acceptable timestamp is: {_day(oldest_ns)}"
            return f"entry for stream '{_stream(labels)}' has timestamp too old: {ends}"
        if self.behind_s and ts_ns < newest_ns - self.behind_s * 1e9:
            oldest = _day(newest_ns - int(self.behind_s * 1e9))
            ends = f"entry timestamp is: {_day(ts_ns)}, oldest acceptable timestamp is: {oldest}"
            return f"entry with timestamp {_instant(ts_ns)} ignored, reason: 'entry too far behind, {ends}'"
        return self.refuses(line)

    def flush(self) -> None:
        """Make everything visible, and let all streams leave the memory."""
        self.flushes += 1
        self._in_memory.clear()
        for stream in self.streams.values():
            for entry in stream:
                entry.flushed = True

    def configuration(self) -> str:
        """What /config says."""
        if self.config is not None:
            return self.config
        hidden = f"{self.look_back_s:g}s" if self.look_back_s else "0s"
        retention = f"compactor:\n  retention_enabled: true\nlimits_config:\n  retention_period: {self.retention_s:g}s\n"
        return f"ingester:\n  query_store_max_look_back_period: {hidden}\n" + (retention if self.retention_s else "")

    def query(self, asked: Mapping[str, str]) -> str:
        """Answer an instant query."""
        at = int(asked.get("time") or self.now_ns())
        series = self._evaluated(asked["query"], [at])
        result = [{"metric": dict(labels), "value": [_seconds(at), str(values[at])]} for labels, values in series if at in values]
        return _success("vector", result)

    def query_range(self, asked: Mapping[str, str]) -> str:
        """Answer a range query, for numbers or for lines."""
        start, end = int(asked["start"]), int(asked["end"])
        if not asked["query"].startswith("{"):
            step = int(float(asked["step"]) * 10**9)
            start, end = start // step * step, end // step * step
            if (end - start) // step > 11_000:
                raise RefusalError(
                    "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter"
                )
            points = list(range(start, end + 1, step))
            series = self._evaluated(asked["query"], points)
            result = [{"metric": dict(labels), "values": [[_seconds(at), str(values[at])] for at in values]} for labels, values in series]
            return _success("matrix", result)
        limit = int(asked.get("limit", 100))
        if limit > _MOST_ENTRIES:
            raise RefusalError(f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {_MOST_ENTRIES})")
        return self._lines(asked, start, end, limit)

    def _lines(self, asked: Mapping[str, str], start: int, end: int, limit: int) -> str:
        matchers = _matchers(asked["query"])
        found = [
            (entry.ts_ns, {**dict(labels), **_added(labels), **entry.metadata}, entry.line)
            for labels, entries in self.streams.items()
            if _match(labels, matchers)
            for entry in entries
            if start <= entry.ts_ns < end and self._visible(entry)
        ]
        backward = asked.get("direction", "backward") == "backward"
        found.sort(key=lambda each: each[0], reverse=backward)
        streams = {json.dumps(labels, sort_keys=True) for _, labels, _ in found}
        over_the_hour = start // _UNITS["h"] != (end - 1) // _UNITS["h"]
        if self.skips_lines and len(found) > limit and len(streams) > 2 and over_the_hour and not backward:
            del found[limit // 2 : limit // 2 + 3]
        found = found[:limit]
        if sum(len(line) for _, _, line in found) > _LARGEST_PAGE:
            raise ConnectionError
        by_stream: dict[str, list[list[str]]] = {}
        for ts, labels, line in found:
            by_stream.setdefault(json.dumps(labels, sort_keys=True), []).append([str(ts), line])
        return _success("streams", [{"stream": json.loads(key), "values": by_stream[key]} for key in sorted(by_stream)])

    def _visible(self, entry: Stored) -> bool:
        age_s = (self.now_ns() - entry.ts_ns) / 1e9
        return not (self.retention_s and age_s > self.retention_s) and (entry.flushed or not self.look_back_s or age_s <= self.look_back_s)

    def _evaluated(self, query: str, points: list[int]) -> list[tuple[tuple[tuple[str, str], ...], dict[int, int]]]:
        if len(query.encode()) > _LONGEST_QUERY:
            raise RefusalError(f"parse error : input size too long ({len(query.encode())} > {_LONGEST_QUERY})")
        match = _METRIC.fullmatch(query)
        if match is None:
            raise RefusalError(f"parse error: the stand-in does not know {query}")
        by, kind, selector, stages, number, unit = match.groups()
        reach = int(number) * _UNITS[unit]
        matchers, step = _matchers(selector), points[1] - points[0] if len(points) > 1 else 0
        sums: _Sums = {}
        for labels, entries in self.streams.items():
            visible = (entry for entry in entries if self._visible(entry)) if _match(labels, matchers) else ()
            for entry in visible:
                sample = _sample(entry, dict(labels), kind, stages)
                if sample is None:
                    continue
                named, value = sample
                key = ((by, named[by]),) if by and by in named else ()
                # A point t has what lies in (t - reach, t]; with one point a step, and a reach of a step, each line is in one.
                at = points[0] if not step else -(-(entry.ts_ns - points[0]) // step) * step + points[0]
                while points[0] <= at <= points[-1] and at - reach < entry.ts_ns <= at:
                    sums.setdefault(key, Counter())[at] += value * entry.copies
                    at += step or reach
        self._add_bulks(sums, matchers, (by, kind), points[0], reach)
        if len(sums) > self.series:
            raise RefusalError(f"maximum of series ({self.series}) reached for a single query")
        return [(key, dict(sorted(sums[key].items()))) for key in sorted(sums)]

    def _add_bulks(self, sums: _Sums, matchers: list[tuple[str, str, str]], asked: tuple[str, str], at: int, reach: int) -> None:
        by, kind = asked
        for labels, bulk in self.bulks.items():
            if _match(labels, matchers) and at - reach < bulk.first_ns and bulk.last_ns <= at:
                value = {"count": bulk.lines, "bytes": bulk.bytes, "sum": bulk.seq_sum}[kind]
                sums.setdefault(((by, dict(labels)[by]),), Counter())[at] += value


def _matchers(selector: str) -> list[tuple[str, str, str]]:
    inner = selector.strip()[1:-1]
    found = [(name, operator, json.loads(f'"{value}"')) for name, operator, value in _MATCHER.findall(inner)]
    if _MATCHER.sub("", inner) or not found or not selector.strip().endswith("}"):
        raise RefusalError(f"parse error at line 1, col 1: syntax error in {selector}")
    return found


def _match(labels: frozenset[tuple[str, str]], matchers: list[tuple[str, str, str]]) -> bool:
    values = {**dict(labels), **_added(labels)}
    for name, operator, value in matchers:
        has = values.get(name, "")
        same = re.fullmatch(value, has) is not None if "~" in operator else has == value
        if same == operator.startswith("!"):
            return False
    return True


def _added(labels: frozenset[tuple[str, str]]) -> dict[str, str]:
    """Return what Loki adds by itself."""
    given = dict(labels)
    return {"detected_level": given.get("level", "unknown"), "service_name": given.get("job", "unknown_service")}


def _sample(entry: Stored, labels: dict[str, str], kind: str, stages: str) -> Optional[tuple[dict[str, str], int]]:
    """Return labels and value of a line, None where a stage leaves it out."""
    named = {**labels, **entry.metadata}
    value = 1 if kind == "count" else len(entry.line.encode())
    for stage in _STAGE.finditer(stages):
        if stage["json"]:
            try:
                named[stage["json"]] = str(json.loads(entry.line)[stage["json"]])
            except (ValueError, KeyError, TypeError):
                named.pop(stage["json"], None)
        elif stage["unwrap"]:
            if not named.get(stage["unwrap"], "").isdigit():
                return None
            value = int(named[stage["unwrap"]])
        elif stage["name"]:
            text, number = named.get(stage["name"], ""), int(stage["number"])
            if not text.isdigit() or (int(text) < number if stage["op"] == ">=" else int(text) > number):
                return None
    return named, value


def _stream(labels: Mapping[str, str]) -> str:
    """Return labels as Loki writes them in a refusal."""
    given = {**labels, "service_name": labels.get("job", "")}
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(given.items())) + "}"


def _instant(ts_ns: int) -> str:
    whole, fraction = divmod(ts_ns, 10**9)
    text = f".{fraction:09d}".rstrip("0") if fraction else ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(whole)) + f"{text} +0000 UTC"


def _day(ts_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ts_ns // 10**9))


def _seconds(at_ns: int) -> float:
    whole, rest = divmod(at_ns // 10**6, 1000)
    return whole if not rest else whole + rest / 1000


def _success(kind: str, result: list[dict[str, Any]]) -> str:
    found = json.dumps(result, separators=(",", ":"), ensure_ascii=False)
    return f'{{"status":"success","data":{{"resultType":"{kind}","result":{found},{_STATS}}}}}'


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in two packets would wait 40 ms for a delayed acknowledgement
    server: _Server

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, body: bytes) -> None:
        loki = self.server.loki
        loki.at_once += 1
        loki.most_at_once = max(loki.most_at_once, loki.at_once)
        try:
            self._answered(loki, body)
        except ConnectionError:
            self.close_connection = True
        finally:
            loki.at_once -= 1

    def _answered(self, loki: LokiStandIn, body: bytes) -> None:
        if loki.dropped_connections:
            loki.dropped_connections -= 1
            raise ConnectionError
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query or body.decode("utf-8", "replace")))
        if any(self.headers.get(name) != value for name, value in loki.required.items()):
            self._send(Answer(401, "no org id\n"))
        elif loki.answers and url.path != "/config":
            self._send(loki.answers.pop(0))
        elif url.path in ("/loki/api/v1/push", "/flush"):
            self._send(self._taken(loki, body))
        elif url.path == "/config":
            loki.asked.append((url.path, asked))
            self._send(Answer(200, loki.configuration()))
        elif url.path in ("/loki/api/v1/query", "/loki/api/v1/query_range"):
            loki.asked.append((url.path, asked))
            loki.headers.append(dict(self.headers.items()))
            try:
                answer = loki.query(asked) if url.path.endswith("query") else loki.query_range(asked)
                self._send(Answer(200, answer, {"Content-Type": "application/json; charset=UTF-8"}))
            except RefusalError as refusal:
                self._send(Answer(refusal.status, str(refusal)))
        else:
            self._send(Answer(404, "404 page not found\n"))

    def _taken(self, loki: LokiStandIn, body: bytes) -> Answer:
        """Take a push or the order to flush; raises ConnectionError where there is to be no answer."""
        if self.path == "/flush":
            if loki.flush_status == http.HTTPStatus.NO_CONTENT:
                loki.flush()
            return Answer(loki.flush_status, "")
        answer = loki.push(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        if answer is None:
            raise ConnectionError
        return answer

    def _send(self, answer: Answer) -> None:
        data = answer.body.encode("utf-8", "surrogatepass")
        self.send_response(answer.status)
        for name, value in {"Content-Type": "text/plain; charset=utf-8", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, loki: LokiStandIn) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.loki = loki

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client may go away at any time."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serving(loki: LokiStandIn, *, certificate: Optional[Path] = None) -> Iterator[str]:
    """Serve it on loopback, with TLS where there is a certificate with its key; gives the URL."""
    with _Server(loki) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
