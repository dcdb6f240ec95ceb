"""The interface of both writers: a batch is written to a file, or waits, or is dropped and reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from sqmon.records.encoder import Batch


class Dropped(NamedTuple):
    """Records that are in no file: the reason, the time span, and exactly which ones."""

    reason: str
    since_ns: int
    until_ns: int
    first_seq: int
    last_seq: int


class Sealed(NamedTuple):
    """A segment that nobody will append to again; `file` is relative to the log directory, `sha256` of all its bytes.

    `torn_bytes` at its end, if any, are half a line, which a kill or a disk that failed has left.
    """

    file: str
    lines: int
    bytes: int
    first_seq: int
    last_seq: int
    sha256: str
    torn_bytes: int = 0


class LineWriter(Protocol):
    """A writer of batches: each gets into a file, or waits in memory, or is dropped and reported."""

    @property
    def pending(self) -> int:
        """The number of bytes that are waiting to be written."""
        ...

    @property
    def trouble(self) -> str:
        """Why they are waiting, in words; empty when all is well."""
        ...

    @property
    def settled_seq(self) -> int:
        """Every seq up to here is in a file or was reported as dropped."""
        ...

    @property
    def path(self) -> Optional[Path]:
        """The file that lines are appended to; None before the first line."""
        ...

    def append(self, *batches: Batch) -> None:
        """Write the batches at once, or keep them until `tick` can; never raises OSError."""
        ...

    def tick(self) -> None:
        """Do what is due. Call it twice a second while something is pending, otherwise now and then."""
        ...

    def close(self) -> None:
        """Try one last time, report what could not be written, and let go of the file."""
        ...


def trouble_of(name: str, reason: str, warning: str, pending: int) -> str:
    """Return the text of `trouble`: why lines are waiting, or what failed without making them wait, or nothing."""
    if reason:
        return f"{name}: {reason} ({_in_words(pending)} waiting)"
    return f"{name}: {warning}" if warning else ""


def _in_words(size: int) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "KiB"):
        if size < 1024:  # noqa: PLR2004
            return f"{size} {unit}"
        size = round(size / 1024)
    return f"{size} MiB"
