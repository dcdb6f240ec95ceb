"""The truth about the simulated cluster: what began and ended when, for tests that compare it with what a monitor made of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Optional

KINDS = ("locks", "statements", "waits", "outages")
KEPT = 10_000
"""How many spans of a kind are kept after their end."""


def nanoseconds(at: float) -> int:
    """Return seconds since 1970 as nanoseconds."""
    return int(at * 1e9)


@dataclass(eq=False)
class Span:
    """Something that began, and its end once there is one."""

    kind: str
    facts: dict[str, Any]
    began_ns: int
    ended_ns: Optional[int] = None

    def as_dict(self) -> dict[str, Any]:
        """Return the facts and both times."""
        return {**self.facts, "began_ns": self.began_ns, "ended_ns": self.ended_ns}


class Truth:
    """Everything that has not ended, and of each kind the last KEPT spans that have."""

    def __init__(self) -> None:
        # A dictionary without values: a set that keeps the order in which things began.
        self._open: dict[Span, None] = {}
        self._ended: dict[str, deque[Span]] = {kind: deque(maxlen=KEPT) for kind in KINDS}
        self._forgotten = dict.fromkeys(KINDS, 0)
        self._restarts: deque[int] = deque(maxlen=KEPT)

    def begin(self, kind: str, at: float, **facts: Any) -> Span:
        """Return a new span that begins at `at`; its facts may be changed until it ends."""
        span = Span(kind, facts, nanoseconds(at))
        self._open[span] = None
        return span

    def end(self, span: Optional[Span], at: float, **facts: Any) -> None:
        """End the span and add facts that its end made known; nothing happens to one that has ended already."""
        if span is None or span.ended_ns is not None:
            return
        del self._open[span]
        span.ended_ns = nanoseconds(at)
        span.facts.update(facts)
        ended = self._ended[span.kind]
        self._forgotten[span.kind] += len(ended) == ended.maxlen
        ended.append(span)

    def restart(self, at: float) -> None:
        """End everything but outages, which have nothing to do with it, and remember the restart."""
        for span in [span for span in self._open if span.kind != "outages"]:
            self.end(span, at, **({"outcome": "server_restarted"} if span.kind == "waits" else {}))
        self._restarts.append(nanoseconds(at))

    def as_dict(self) -> dict[str, Any]:
        """Return all spans by kind, each kind in the order of their beginnings, and how many were forgotten."""
        told: dict[str, Any] = {}
        for kind in KINDS:
            spans = [*self._ended[kind], *(span for span in self._open if span.kind == kind)]
            told[kind] = [span.as_dict() for span in sorted(spans, key=lambda span: span.began_ns)]
        return {**told, "restarts": list(self._restarts), "forgotten": dict(self._forgotten)}
