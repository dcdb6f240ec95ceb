"""The search of a finished bundle for what must never be in one: the live password, tokens, and texts that the site has named."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple, Optional

import msgspec
import zstandard

from sqmon.errors import SqmonError

_CHUNK = 1 << 20  # bytes that are read at once
_SHORT = 8  # characters; a shorter secret may be a part of a longer word by chance


class Secret(NamedTuple):
    """A text, and what people call it."""

    name: str
    text: str


class Search:
    """Looks for secrets in pieces of data that follow each other."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._patterns = [(secret.name, re.compile(pattern)) for secret in secrets for pattern in _patterns(secret.text)]
        self._reach = max((len(secret.text) for secret in secrets), default=0) * 6 + 2
        self._tail = b""

    def begin(self) -> None:
        """Begin with another file, which does not continue the one before."""
        self._tail = b""

    def take(self, data: bytes) -> Optional[str]:
        """Return the name of a secret that ends in this piece, None when there is none."""
        if not self._patterns:
            return None
        data = self._tail + data
        self._tail = data[-self._reach :]
        return next((name for name, pattern in self._patterns if pattern.search(data)), None)


def searched(path: Path, secrets: Iterable[Secret]) -> list[tuple[str, str]]:
    """Read a bundle as tar does, and return its files in their order, each with its SHA-256.

    Raises SqmonError when a secret is in it, and OSError or what tar raises when it can't be read.
    """
    search, read = Search([*secrets]), list[tuple[str, str]]()
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        data = stack.enter_context(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False))
        tar = stack.enter_context(tarfile.open(fileobj=data, mode="r|"))
        for member in tar:
            name, sha256, content = member.name.partition("/")[2], hashlib.sha256(), tar.extractfile(member)
            search.begin()
            secret = search.take(member.name.encode() + b"\n")
            while content and not secret:
                piece = content.read(_CHUNK)
                if not piece:
                    break
                sha256.update(piece)
                secret = search.take(piece)
            if secret:
                raise SqmonError(f"{name} would contain {secret}; no bundle was written")
            read.append((name, sha256.hexdigest()))
    return read


def _patterns(text: str) -> Iterator[bytes]:
    """Yield what finds the text as it is, and as it stands in JSON, with other than ASCII as it is or escaped."""
    plain, in_json, in_ascii = text.encode(), msgspec.json.encode(text)[1:-1], json.dumps(text).encode()[1:-1]
    for form in dict.fromkeys((plain, in_json, in_ascii)):
        found = re.escape(form)
        yield rb"(?<![A-Za-z0-9])%b(?![A-Za-z0-9])" % found if len(text) < _SHORT else found
