"""The proof file, `proof.json`: what `sqmon verify --watch` has found in Loki, for the service that writes to the same directory.

It is replaced as a whole after each look; no agent's glob matches it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Optional

import msgspec

from sqmon.config import small_file
from sqmon.storage.permissions import FILE_MODE

NAME = "proof.json"
_LARGEST = 32 << 20


class Proof(msgspec.Struct, kw_only=True, frozen=True):
    """What a look has found."""

    url: str
    """Of the Loki that was asked."""
    looked_ns: int
    every_s: float
    """Seconds until the next look."""
    ended: bool = False
    """Whether no further look is to be expected."""
    proved: bool
    """Whether nothing is wrong; lines that are still on their way are not."""
    problem: str = ""
    """What is wrong, in a sentence, or ""."""
    up_to_ns: Optional[int] = None
    """The time up to which every line of the directory was seen in Loki, None when that is not known."""
    unproved_lines: int = 0
    """Lines of the directory that were not seen in Loki, those that are on their way among them."""
    segments: dict[str, str] = {}
    """The sealed segments all of whose lines were seen, each with its SHA-256."""


def write(log_dir: Path, proof: Proof) -> None:
    """Replace the file; raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{NAME}.", dir=log_dir)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(proof))
        Path(name).chmod(FILE_MODE)
        Path(name).replace(log_dir / NAME)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


class ProofFile:
    """Reads the file of one directory, again only when it has changed."""

    def __init__(self, log_dir: Path) -> None:
        self._path = log_dir / NAME
        self._seen: Optional[tuple[int, int]] = None
        self._proof: Optional[Proof] = None

    def read(self) -> Optional[Proof]:
        """Return what was found last, None when there is nothing that can be read."""
        try:
            status = self._path.stat()
            if self._seen != (status.st_ino, status.st_mtime_ns):
                self._proof = None
                self._proof = msgspec.json.decode(small_file.read(self._path, _LARGEST), type=Proof)
                self._seen = status.st_ino, status.st_mtime_ns
        except (OSError, msgspec.DecodeError):
            self._seen = self._proof = None
        return self._proof
