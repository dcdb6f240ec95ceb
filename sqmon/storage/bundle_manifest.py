"""The manifest of a bundle: what is in it, where that came from, and what was left out and why."""

from __future__ import annotations

from typing import Any, Literal, Optional

import msgspec

FORMAT = 1
"""Of the bundles that this version writes, and the newest that it reads."""

NAME = "MANIFEST.json"
SUMS = "SHA256SUMS"

Kind = Literal["segment", "status", "metrics", "positions"]


class BundledFile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A file of the bundle. Of a segment, what it holds as it is here, and the seal that the service gave it."""

    path: str
    """Relative to the bundle's directory, and of a segment also to the log directory that it came from."""
    kind: Kind
    bytes: int
    sha256: str
    mtime: int
    """Seconds since 1970."""
    offset: int
    """Where its header begins, counted from the end of SHA256SUMS."""
    packed: int
    """Bytes that it takes in the bundle, its header included."""
    lines: int = 0
    torn_bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0
    first_ts: str = ""
    last_ts: str = ""
    seal: Optional[dict[str, Any]] = None
    """What its `segment_sealed` event says of the original; None while it was still written, or where none was kept."""
    rewritten: bool = False
    """Whether SQL text or secrets were masked, so that the seal is that of another content."""
    growing: bool = False
    """Whether it had no seal yet, so that only its whole lines were taken."""
    left_out_bytes: int = 0
    """Bytes of the original that are not here: half a line at its end, and what was no record and could not be masked."""
    taken_from: str = ""
    """The file of file-only mode whose records of one metric these are."""


class Omission(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that is not in the bundle."""

    file: str
    reason: str
    bytes: int = 0
    lines: int = 0
    first_seq: int = 0
    last_seq: int = 0


class Manifest(msgspec.Struct, kw_only=True):
    """The whole bundle."""

    format: int
    directory: str
    """The directory that unpacking makes."""
    sqmon: str
    """The version that made the bundle."""
    python: str
    made: str
    """When, as the `ts` of a record."""
    cluster: str
    instance: str
    """The host, as the agent names it in Loki."""
    log_dir: str
    """Where the segments are on that host, which is part of their names in Loki."""
    since: Optional[str]
    until: Optional[str]
    """The window that was asked for; segments that reach into it are here as a whole."""
    sql: Literal["full", "masked", "none"]
    heads: dict[str, str]
    """The SHA-256 of the newest seal of each stream; Loki must have the same."""
    gaps: list[dict[str, Any]]
    """When the monitor was blind or lost records within the window, as its events say."""
    omitted: list[Omission]
    searched_for: int
    """For how many secrets the finished bundle was searched; none of them is in it."""
    files: list[BundledFile]


def encoded(manifest: Manifest) -> bytes:
    """Return the content of MANIFEST.json."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
