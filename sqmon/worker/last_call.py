"""When a call that changes the server was made last, which no restart of its worker or of the service may forget."""

from __future__ import annotations

from sqmon.config.settings import Metric, Output
from sqmon.storage.note import Note


class LastCall:
    """The note about the last call of one metric."""

    def __init__(self, metric: Metric, output: Output) -> None:
        self._interval = metric.interval
        self._note = Note(output, f"last_call-{metric.name}")

    def wait(self, now_ns: int) -> float:
        """Return the seconds until the next call is due, an interval at most; 0 when no call is known."""
        content = (self._note.read() or b"").strip()
        since = (now_ns - int(content)) / 1e9 if content.isdigit() else self._interval
        # A clock that was set back would make it longer than an interval.
        return max(self._interval - max(since, 0.0), 0.0)

    def made(self, now_ns: int) -> None:
        """Take note of a call that has worked."""
        self._note.write(b"%d\n" % now_ns)
