"""The part that both kinds of writer share: lines that a file doesn't accept are kept in memory and tried again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Callable

from sqmon.errors import reason_of
from sqmon.storage.backlog import Backlog
from sqmon.storage.writer import Dropped, trouble_of

if TYPE_CHECKING:
    from sqmon.clock import Clock
    from sqmon.records.encoder import Batch


class BufferedWriter(ABC):
    """Everything in a LineWriter that does not depend on the kind of file.

    Nothing raises OSError: lines that can't be written wait in a bounded buffer and go out with a later `append` or
    `tick`; past the bound the oldest whole records are dropped and reported.
    """

    def __init__(self, name: str, buffer_bytes: int, *, clock: Clock, on_dropped: Callable[[Dropped], None]) -> None:
        self._name = name
        self._clock = clock
        self._on_dropped = on_dropped
        self._backlog = Backlog(buffer_bytes, clock, on_dropped)
        self._reason = ""  # why lines wait
        self._since_ns = 0  # when the reason arose
        self._warning = ""  # what failed without making lines wait

    @property
    def pending(self) -> int:
        """See LineWriter."""
        return self._backlog.pending

    @property
    def trouble(self) -> str:
        """See LineWriter."""
        return trouble_of(self._name, self._reason, self._warning, self.pending)

    @property
    def settled_seq(self) -> int:
        """See LineWriter."""
        return self._backlog.settled_seq

    def append(self, *batches: Batch) -> None:
        """See LineWriter."""
        for batch in batches:
            self._backlog.push(batch)
        self._flush()

    def _flush(self) -> None:
        """Write everything that waits, or remember why that failed."""
        try:
            self._look()
            while self._backlog.pending:
                self._write_some()
        except OSError as error:
            if not self._reason:
                self._since_ns = self._clock.time_ns()
            self._reason = reason_of(error)
            self._backlog.shrink(self._reason, self._since_ns)
        else:
            self._reason = ""
            self._backlog.report()

    def _finish(self) -> None:
        """Try one last time, and report what could not be written."""
        self._flush()
        self._backlog.give_up(self._reason, self._since_ns)
        self._reason = ""

    def _look(self) -> None:  # noqa: B027 - not every kind has something to look at
        """Notice what others have done to the file, before anything is written; raises OSError."""

    @abstractmethod
    def _write_some(self) -> None:
        """Make one write of whole lines, or take a step that has to come before it; raises OSError."""
