"""How far an agent is known to have read each file, from the positions file that Alloy, Promtail or vlagent keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, NamedTuple, Optional

from sqmon.config import small_file

if TYPE_CHECKING:
    import yaml


_LARGEST_FILE = 64 << 20


class Positions(NamedTuple):
    """What one positions file says.

    A position is a lower bound: Alloy stores one at a file's first line and then only with a line that comes ten
    seconds or more after the last, so that a file read in a burst stays at its first line for ever.
    """

    offsets: dict[Path, int]  # bytes read, at least
    written_ns: int  # when the agent last wrote the file, which a running one does every few seconds


NOTHING_KNOWN = Positions({}, 0)
"""What a positions file that can't be read says."""


def read_positions(path: Path) -> Optional[Positions]:
    """Read a positions file; None when it is missing, broken or something else."""
    try:
        written_ns = path.stat().st_mtime_ns
        text = small_file.read(path, _LARGEST_FILE).decode("utf-8")
        entries = list(_vlagent(text) if text.startswith("[") else _alloy_or_promtail(text))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    offsets: dict[Path, int] = {}
    for name, offset in entries:
        # A path may have several entries, one for each set of labels: the one that is behind counts.
        offsets[Path(name)] = min(offset, offsets.get(Path(name), offset))
    return Positions(offsets, written_ns)


def _vlagent(text: str) -> Iterator[tuple[str, int]]:
    for entry in json.loads(text):
        yield str(entry["path"]), int(entry["offset"])


def _alloy_or_promtail(text: str) -> Iterator[tuple[str, int]]:
    """Yield the entries of `positions: {path: "offset"}`; a key of Alloy's is itself a mapping, of path and labels."""
    import yaml  # noqa: PLC0415 - the supervisor has no use for it unless it was given a positions file

    try:
        # Composed rather than loaded, because a mapping can't be the key of a dict.
        document = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if document is None:
        return
    for key, value in _member(document, "positions").value:
        if isinstance(value.value, str) and value.value.isascii() and value.value.isdigit():  # others are of the journal
            name = key if isinstance(key.value, str) else _member(key, "path")
            yield str(name.value), int(value.value)


def _member(mapping: yaml.Node, name: str) -> yaml.Node:
    members: dict[str, yaml.Node] = {key.value: value for key, value in mapping.value if isinstance(key.value, str)}
    return members[name]
