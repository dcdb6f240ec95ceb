"""A real Loki with the shipped configuration on loopback, for tests that run where Loki is installed."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Iterator, Optional

import pytest

from tests.support import ROOT
from tests.support.logql_lines import Entry
from tests.support.program import wait_until

ALLOY = ROOT / "alloy"
_READY_SECONDS = 90.0  # its ring takes 15 s of them
_PAGE = 5000  # the most lines that it gives at once
_HOUR_NS = 3600 * 10**9


def program(name: str) -> str:
    """Return the path of a program; skip the test where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on PATH")
    return found


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(words: list[str], log: Path, environment: Optional[dict[str, str]] = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program with its output in `log`; at the end, stop it, or kill it when it doesn't stop."""
    with log.open("ab") as sink, subprocess.Popen(words, stdout=sink, stderr=sink, env=environment, cwd=log.parent) as running:
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()


def asked(url: str, data: Optional[bytes] = None) -> tuple[int, str]:
    """Return status and text of an answer; 0 where nobody answers."""
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Loki:
    """The Loki at a port, as tests use it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: object) -> Any:
        """Return an answer that is JSON; AssertionError for anything but 200."""
        status, text = asked(f"{self._url}{path}?{urllib.parse.urlencode(parameters)}")
        assert status == 200, f"{parameters}: {text}"
        return json.loads(text)

    def ready(self) -> bool:
        """Whether it takes lines."""
        return asked(f"{self._url}/ready")[0] == 200

    def push(self, entries: list[Entry]) -> None:
        """Send lines with their times, run_id as structured metadata as the agents do.

        One stream a request, oldest first: Loki answers for the last stream alone, and moves its window within a request.
        """
        streams: dict[str, list[Any]] = {}
        for entry in entries:
            labels = {name: value for name, value in entry.labels.items() if name != "run_id"}
            value = [str(nanoseconds(json.loads(entry.line)["ts"])), entry.line, {"run_id": entry.labels["run_id"]}]
            streams.setdefault(json.dumps(labels), []).append(value)
        for stream, values in streams.items():
            body = {"streams": [{"stream": json.loads(stream), "values": sorted(values, key=lambda value: int(value[0]))}]}
            status, text = asked(f"{self._url}/loki/api/v1/push", json.dumps(body).encode())
            assert status == 204, text

    def vector(self, query: str, at: Optional[float] = None) -> list[tuple[dict[str, str], float]]:
        """Return what an instant query finds."""
        data = self.get("/loki/api/v1/query", query=query, time=int((time.time() if at is None else at) * 1e9))["data"]
        assert data["resultType"] == "vector", query
        return [(found["metric"], float(found["value"][1])) for found in data["result"]]

    def lines(self, query: str, seconds: float) -> Iterator[tuple[dict[str, str], int, str]]:
        """Yield labels, time and text of every line of the last `seconds`, oldest first."""
        start, end = int((time.time() - seconds) * 1e9), int((time.time() + 60) * 1e9)
        while start < end:
            # Loki 3.4.6 leaves lines out of a page that crosses a full hour.
            hour = (start // _HOUR_NS + 1) * _HOUR_NS
            yield from self._page_by_page(query, start, min(hour, end))
            start = hour

    def _page_by_page(self, query: str, start: int, end: int) -> Iterator[tuple[dict[str, str], int, str]]:
        """Yield the lines from `start` to before `end`; a page begins where the one before ended, since that cut an instant in two."""
        seen: set[tuple[int, str, str]] = set()
        while True:
            found = self._page(query, start, end)
            for ts, line, labels in found:
                if (ts, line, labels) not in seen:
                    yield json.loads(labels), ts, line
            if len(found) < _PAGE:
                return
            start = found[-1][0]
            seen = {each for each in found if each[0] == start}

    def _page(self, query: str, start: int, end: int) -> list[tuple[int, str, str]]:
        data = self.get("/loki/api/v1/query_range", query=query, start=start, end=end, limit=_PAGE, direction="forward")["data"]
        return sorted((int(ts), line, json.dumps(stream["stream"])) for stream in data["result"] for ts, line, *_ in stream["values"])


def nanoseconds(ts: str) -> int:
    """Return a record's `ts` in nanoseconds since 1970."""
    seconds = dt.datetime.fromisoformat(ts[:19] + "+00:00").timestamp()
    return int(seconds) * 10**9 + int(ts[20:29])


@contextlib.contextmanager
def loki(place: Path, *changes: tuple[str, str]) -> Iterator[Loki]:
    """Run Loki with the shipped file, moved to `place` and to free ports and with these texts replaced, until the block ends."""
    words = program("loki")
    port = free_port()
    rules = place / "rules" / "fake"
    rules.mkdir(parents=True)
    shutil.copy(ALLOY / "loki" / "rules.yaml", rules)
    text = (ALLOY / "loki" / "loki.yaml").read_text("utf-8")
    for old, new in (
        ("/var/lib/loki", str(place / "data")),
        ("/etc/loki/rules", str(place / "rules")),
        ("http_listen_port: 3100", f"http_listen_port: {port}"),
        ("grpc_listen_port: 9096", f"grpc_listen_port: {free_port()}"),
        *changes,
    ):
        assert old in text
        text = text.replace(old, new)
    config = place / "loki.yaml"
    config.write_text(text, "utf-8")
    with process([words, f"-config.file={config}"], place / "loki.log") as running:
        found = Loki(port)
        wait_until(lambda: found.ready() or running.poll() is not None, _READY_SECONDS)
        assert running.poll() is None, (place / "loki.log").read_text("utf-8")[-2000:]
        yield found
