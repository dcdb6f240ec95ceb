"""The texts of the queries that a proof asks Loki, and how many segments fit into one."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import Callable, Iterable, Iterator, NamedTuple, TypeVar

from sqmon.errors import ConfigError

DEFAULT_SELECTOR = '{job="sqmon"}'

_MATCHER = r'\s*[a-zA-Z_][a-zA-Z0-9_]*\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*"\s*'
_SELECTOR = re.compile(rf"\{{?({_MATCHER}(?:,{_MATCHER})*)\}}?")
_MOST_FILES = 400  # Loki's default is 500 series a query
_MOST_BYTES = 100_000  # Loki takes a query of 131,072

T = TypeVar("T")


def matchers_of(selector: str) -> str:
    """Return the matchers of a stream selector without its braces; raises ConfigError for anything else."""
    match = _SELECTOR.fullmatch(selector.strip())
    if match is None:
        raise ConfigError([f"--selector: {selector!r} is not a stream selector as in {DEFAULT_SELECTOR}"])
    return match[1].strip()


class Streams(NamedTuple):
    """The streams of some segments.

    Loki's label `filename` is the path by which the agent knows a segment, and that may have another beginning than here:
    through a link, in a container, or in a copy of the directory. The name of a segment is found nowhere else.
    """

    matchers: str
    files: tuple[str, ...]
    """Relative to the log directory."""

    def selector(self, *, fresh: bool = False) -> str:
        """Return the selector; a `fresh` one is unlike any before, because a cache of Loki's may answer for range queries."""
        by_stream = itertools.groupby(sorted(self.files), key=lambda file: file.split("/")[0])
        names = [f"{stream}/({'|'.join(_literal(file.split('/')[1]) for file in files)})" for stream, files in by_stream]
        always = f',instance!="sqmon-verify-{secrets.token_hex(8)}"' if fresh else ""
        return f'{{{self.matchers},filename=~".*/({"|".join(names)})"{always}}}'

    def counts(self, range_text: str, *, fresh: bool = False) -> str:
        """Return the query for the lines of each file."""
        return f"sum by (filename) (count_over_time({self.selector(fresh=fresh)}[{range_text}]))"

    def sizes(self, range_text: str, *, fresh: bool = False) -> str:
        """Return the query for the bytes of the lines of each file, which have no newline there."""
        return f"sum by (filename) (bytes_over_time({self.selector(fresh=fresh)}[{range_text}]))"

    def sums(self, range_text: str, *, fresh: bool = False) -> str:
        """Return the query for what the seq of each file add up to."""
        return (
            f'sum by (filename) (sum_over_time({self.selector(fresh=fresh)} | json seq="seq" | unwrap seq | __error__="" [{range_text}]))'
        )

    def counts_by_seq(self, first: int, last: int, range_text: str, *, each: bool) -> str:
        """Return the query for how often the lines with these seq are stored, all together or `each`."""
        by = "seq" if each else "filename"
        return (
            f'sum by ({by}) (count_over_time({self.selector(fresh=True)} | json seq="seq" | seq >= {first} | seq <= {last} [{range_text}]))'
        )


def _literal(name: str) -> str:
    # In brackets it needs no backslash, which would need another one in a string of LogQL.
    return name.replace(".", "[.]")


def file_of(filename: str) -> str:
    """Return the segment of a label `filename`."""
    return "/".join(filename.split("/")[-2:])


def batches(items: Iterable[T], file: Callable[[T], str]) -> Iterator[list[T]]:
    """Yield the items in groups that one query may ask for."""
    batch: list[T] = []
    size = 0
    for item in items:
        if batch and (len(batch) == _MOST_FILES or size > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(file(item)) + 4
    if batch:
        yield batch
