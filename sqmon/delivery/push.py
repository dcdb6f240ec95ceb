"""The sending of lines to Loki so that each is there once: before anything is sent again, Loki is asked what it has."""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, NamedTuple, Optional, Protocol

from sqmon.delivery.loki_client import Answer, LokiClient, RefusedError, pause_of
from sqmon.delivery.replay_labels import Key, Labels, Line, push_body, stream_key
from sqmon.errors import SqmonError

# A batch is not larger than half of the part of a stream in which Loki still recognises a line that comes again.
_BATCH_BYTES = 128 << 10
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, *[30.0] * 10)
_OK, _BUSY, _SERVER_ERRORS = range(200, 300), 429, range(500, 600)
_NOTHING_TO_DO = Answer(204, "", "")
_MOST_NAMED = 10
_BEHIND, _NO_SCHEMA = "too far behind", "no schema config"


class Refused(NamedTuple):
    """Lines that Loki doesn't take, and why."""

    lines: list[Line]
    text: str

    @property
    def for_now(self) -> bool:
        """Whether Loki will take them later: they are older than what it has of their stream in memory."""
        return _BEHIND in self.text


class Look(Protocol):
    """What finds out which lines are in Loki."""

    def __call__(self, lines: list[Line]) -> set[int]:
        """Return the places of those of the lines that are there."""
        ...


class Pusher:
    """Sends lines at the rate that Loki allows, one stream a request, because Loki answers for the last stream of a request alone."""

    def __init__(
        self,
        client: LokiClient,
        labels: Labels,
        *,
        rate: Optional[float],
        sleep: Callable[[float], None],
        monotonic: Callable[[], float],
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Send at most `rate` bytes a second; `progress` is told of bytes that Loki has, or refuses."""
        self.sent = 0
        """Lines that Loki took."""
        self._client = client
        self._labels = labels
        self._rate = rate
        self._sleep = sleep
        self._monotonic = monotonic
        self._progress = progress
        self._free_at = monotonic()

    def push(self, file: str, lines: Iterable[Line], look: Look) -> list[Refused]:
        """Bring lines of a segment, oldest first, to Loki; returns what Loki does not take. Raises SqmonError when it does not answer."""
        refused = _Refusals()
        for key, batch in _batches(lines):
            self._deliver(file, key, batch, look, refused)
            self._progress(sum(len(line.text) + 1 for line in batch))
        return refused.told()

    def _deliver(self, file: str, key: Key, lines: list[Line], look: Look, refused: _Refusals) -> None:
        """Deliver a batch. One that is refused is halved until it is known which lines Loki doesn't take."""
        left, unknown, reason = lines, False, ""
        for pause in (*_PAUSES, None):
            wait = pause
            try:
                if unknown:
                    left, unknown = self._missing(look, left), False
                answer = self._answered(file, key, left) if left else _NOTHING_TO_DO
            except RefusedError:
                raise
            except SqmonError as error:
                # Nobody knows what has become of a request without an answer, so Loki is asked before anything is sent again.
                unknown, reason = True, str(error)
            else:
                if answer.status in _OK:
                    self.sent += len(left)
                    return
                reason = f"{answer.status} {answer.text[:200]}"
                if not _passes(answer):
                    self._refused(answer)
                    # A refusal of some lines keeps the others.
                    left = self._missing(look, left)
                    self._divide(file, key, left, look, refused, answer.text, whole=len(left) == len(lines))
                    return
                unknown = answer.status != _BUSY
                wait = None if wait is None else pause_of(answer.retry_after, wait)
            if wait is not None:
                self._sleep(wait)
        raise SqmonError(f"{self._client.url}: Loki takes no more lines ({reason}); run the same command again, it goes on from here")

    def _missing(self, look: Look, lines: list[Line]) -> list[Line]:
        there = look(lines)
        self.sent += len(there)
        return [line for line in lines if line.place not in there]

    def _divide(  # noqa: PLR0917 - what is known of one batch
        self, file: str, key: Key, left: list[Line], look: Look, refused: _Refusals, text: str, *, whole: bool
    ) -> None:
        if not left:
            return
        if len(left) == 1 or refused.has_enough(text):
            refused.add(left, text)
        elif whole:
            half = len(left) // 2
            for part in (left[:half], left[half:]):
                self._deliver(file, key, part, look, refused)
        else:
            self._deliver(file, key, left, look, refused)

    def _answered(self, file: str, key: Key, lines: list[Line]) -> Answer:
        """Send a batch, as soon as the rate allows it; raises NoAnswerError."""
        if self._rate:
            now = self._monotonic()
            if self._free_at > now:
                self._sleep(self._free_at - now)
            self._free_at = max(self._free_at, now) + sum(len(line.text) for line in lines) / self._rate
        return self._client.send("/loki/api/v1/push", push_body(self._labels, file, key, lines))

    def _refused(self, answer: Answer) -> None:
        """Raise RefusedError for an answer that is not about the lines."""
        if answer.status in (401, 403, 404, 405) or answer.status in range(300, 400):
            hint = (
                "see --loki_tenant, --loki_user and --loki_token" if answer.status in (401, 403) else "give the URL of a Loki as --loki_url"
            )
            raise RefusedError(f"{self._client.url}: {answer.status} {answer.text[:200]}; {hint}", answer.status, answer.text)


def _passes(answer: Answer) -> bool:
    """Whether the same lines may be taken a little later."""
    return answer.status == _BUSY or (answer.status in _SERVER_ERRORS and _NO_SCHEMA not in answer.text)


class _Refusals:
    """What Loki does not take of one segment, by the kind of the reason."""

    def __init__(self) -> None:
        self._found: dict[str, Refused] = {}

    def add(self, lines: list[Line], text: str) -> None:
        self._found.setdefault(_kind(text), Refused([], text)).lines.extend(lines)

    def has_enough(self, text: str) -> bool:
        """Whether so many lines were found one by one that the others are refused together."""
        found = self._found.get(_kind(text))
        return found is not None and len(found.lines) >= _MOST_NAMED

    def told(self) -> list[Refused]:
        return [*self._found.values()]


def _kind(text: str) -> str:
    known = (_BEHIND, _NO_SCHEMA, "timestamp too old", "timestamp too new", "entry size")
    return next((kind for kind in known if kind in text), "".join(character for character in text if not character.isdigit()))


def _batches(lines: Iterable[Line]) -> Iterator[tuple[Key, list[Line]]]:
    """Yield what goes into one request: lines of one stream, oldest first."""
    batches: dict[Key, list[Line]] = {}
    sizes: dict[Key, int] = {}
    for line in lines:
        key = stream_key(line.text)
        if sizes.get(key, 0) + len(line.text) > _BATCH_BYTES and key in batches:
            yield key, batches.pop(key)
            sizes[key] = 0
        batches.setdefault(key, []).append(line)
        sizes[key] = sizes.get(key, 0) + len(line.text)
    yield from batches.items()
