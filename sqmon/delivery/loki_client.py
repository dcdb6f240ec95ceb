"""The client of Loki: one request at a time, patient with a Loki that is busy, and no secret in a message."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import ssl
import time
import urllib.parse
from typing import Any, Callable, Mapping, NamedTuple, NoReturn, Optional, Union

import msgspec

from sqmon.delivery.loki_access import Access, split
from sqmon.errors import ConfigError, SqmonError, reason_of, shown

_TIMEOUT_SECONDS = 120.0  # in which something of an answer must come; Loki itself gives up a query after 60
_ANSWER_SECONDS = 600.0  # for a whole answer
_LARGEST_ANSWER = 64 << 20
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each further try
_LONGEST_PAUSE = 60.0
_PIECE = 1 << 16
_LEVEL = 3  # of compression
_TEXT = 300  # characters of an answer that an error repeats


class RefusedError(SqmonError):
    """Loki answered that it does not do what was asked; `status` and `text` are its words."""

    def __init__(self, message: str, status: int, text: str) -> None:
        super().__init__(message)
        self.status = status
        self.text = text


class NoAnswerError(SqmonError):
    """There was no answer, so that nobody knows whether Loki has done what was asked."""


class Answer(NamedTuple):
    """What Loki said."""

    status: int
    text: str
    retry_after: str


class Sample(NamedTuple):
    """A value of a series: its labels, the moment in nanoseconds since 1970, and the value, which is a whole number."""

    labels: Mapping[str, str]
    at_ns: int
    value: int


class Entry(NamedTuple):
    """A line as Loki shows it."""

    ts_ns: int
    line: str
    stream: str
    """Its labels, as a key that tells streams apart."""


class _Series(msgspec.Struct):
    metric: dict[str, str] = {}
    stream: dict[str, str] = {}
    value: Optional[list[Any]] = None
    values: list[list[Any]] = []


class _Data(msgspec.Struct):
    result: list[_Series]


class _Answer(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Answer).decode


class LokiClient:
    """Asks one Loki; every query raises SqmonError when it can't be answered, and RefusedError when Loki refuses it."""

    def __init__(self, access: Access, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.queries = 0
        """How many requests were answered."""
        self._access = access
        self._sleep = sleep
        self._connection: Optional[http.client.HTTPConnection] = None
        parts = split(access.url)
        self._host, self._port, self._tls = str(parts.hostname), parts.port, parts.scheme == "https"
        path = re.sub(r"/loki/api/v1(/push)?$", "", parts.path.rstrip("/"))
        self._prefix = path
        self.url = f"{parts.scheme}://{parts.netloc}{path}"
        if access.ca_file and not self._tls:
            raise ConfigError(["--loki_ca_file: is for https; --loki_url begins with http"])

    def vector(self, query: str, at_ns: int) -> list[Sample]:
        """Return what an instant query finds."""
        found = self._found("query", {"query": query, "time": at_ns})
        return [Sample(each.metric, at_ns, _whole(each.value[1])) for each in found if each.value]

    def matrix(self, query: str, start_ns: int, end_ns: int, step_s: int) -> list[Sample]:
        """Return the points of a range query; Loki moves start and end down to a multiple of the step."""
        found = self._found("query_range", {"query": query, "start": start_ns, "end": end_ns, "step": step_s})
        return [Sample(each.metric, round(at * 1000) * 10**6, _whole(value)) for each in found for at, value in each.values]

    def page(self, query: str, start_ns: int, end_ns: int, limit: int) -> list[Entry]:
        """Return the first `limit` lines from `start_ns` to before `end_ns`, oldest first."""
        parameters = {"query": query, "start": start_ns, "end": end_ns, "limit": limit, "direction": "forward"}
        found = self._found("query_range", parameters)
        return sorted(Entry(int(ts), line, repr(sorted(each.stream.items()))) for each in found for ts, line, *_ in each.values)

    def configuration(self) -> str:
        """Return what Loki says of its configuration, nothing where it doesn't say it: a proxy may hide that page."""
        with contextlib.suppress(RefusedError):
            return self._ask("GET", "/config", {}).decode("utf-8", "replace")
        return ""

    def _found(self, path: str, parameters: Mapping[str, object]) -> list[_Series]:
        answer = self._ask("POST", f"/loki/api/v1/{path}", parameters)
        try:
            return _decode(answer).data.result
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SqmonError(f"{self.url}: the answer is not Loki's; give the URL of a Loki as --loki_url") from None

    def _ask(self, method: str, path: str, parameters: Mapping[str, object]) -> bytes:
        # A file that holds a secret is read before anything is sent.
        headers = {"Cache-Control": "no-cache", "Content-Type": "application/x-www-form-urlencoded", **self._access.headers()}
        body = urllib.parse.urlencode(parameters) if parameters else None
        for pause in (*_PAUSES, None):
            wait = pause
            try:
                status, retry_after, answer = self._exchanged(method, path, body, headers)
            except NoAnswerError as error:
                reason = str(error)
            else:
                if status == http.HTTPStatus.OK:
                    self.queries += 1
                    return answer
                reason = f"{status} {shown(answer.decode('utf-8', 'replace').strip())[:_TEXT]}"
                # A query that takes too long would take as long again.
                if status != http.HTTPStatus.TOO_MANY_REQUESTS and (
                    status < http.HTTPStatus.INTERNAL_SERVER_ERROR or status == http.HTTPStatus.GATEWAY_TIMEOUT
                ):
                    self._refused(status, answer.decode("utf-8", "replace"), reason)
                wait = None if wait is None else pause_of(retry_after, wait)
            if wait is not None:
                self._sleep(wait)
        raise SqmonError(f"{self.url}: Loki does not answer ({shown(reason)}); tried {len(_PAUSES) + 1} times")

    def send(self, path: str, body: bytes, content_type: str = "application/json") -> Answer:
        """Send something once, compressed, and return the answer, whatever it is; raises NoAnswerError when none came."""
        headers = {"Content-Type": content_type, **({"Content-Encoding": "gzip"} if body else {}), **self._access.headers()}
        status, retry_after, answer = self._exchanged("POST", path, gzip.compress(body, _LEVEL) if body else b"", headers)
        return Answer(status, shown(answer.decode("utf-8", "replace").strip()), retry_after)

    def _refused(self, status: int, text: str, reason: str) -> NoReturn:
        hint = ""
        if status in (401, 403):
            hint = "; see --loki_tenant, --loki_user and --loki_token"
        elif status in (301, 302, 307, 308, 404):
            hint = "; give the URL of a Loki as --loki_url"
        raise RefusedError(f"{self.url}: Loki refuses the query: {reason}{hint}", status, text)

    def _exchanged(self, method: str, path: str, body: Union[str, bytes, None], headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        """Return status, Retry-After and body of an answer; redirections are not followed, since that could tell others the secrets."""
        try:
            return self._exchange(method, self._prefix + path, body, headers)
        except ssl.SSLCertVerificationError as error:
            raise SqmonError(f"{self.url}: its certificate is not trusted ({error.verify_message}); see --loki_ca_file") from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswerError(str(getattr(error, "strerror", None) or error or type(error).__name__)) from None

    def _exchange(self, method: str, path: str, body: Union[str, bytes, None], headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        connection = self._connection = self._connection or self._connected()
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        parts, size, end = [], 0, time.monotonic() + _ANSWER_SECONDS
        while True:
            part = answer.read(_PIECE)
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > _LARGEST_ANSWER or time.monotonic() > end:
                raise http.client.HTTPException("the answer has no end")
        if answer.will_close:
            self.close()
        return answer.status, answer.getheader("Retry-After", ""), b"".join(parts)

    def _connected(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            context = ssl.create_default_context(cafile=self._access.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError([f"--loki_ca_file {self._access.ca_file}: can't be used: {reason_of(error)}"]) from None
        return http.client.HTTPSConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS, context=context)

    def close(self) -> None:
        """Close the connection; the next request makes another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def pause_of(retry_after: str, pause: float) -> float:
    """Return for how long to wait before the next try: as long as Loki asks for, within reason, or else `pause`; both in seconds."""
    return min(float(retry_after), _LONGEST_PAUSE) if re.fullmatch(r"[0-9]{1,6}", retry_after) else pause


def _whole(text: str) -> int:
    """Return a value of Loki's, which is the text of a floating-point number."""
    return int(text) if text.isdigit() else int(float(text))
