"""How far an agent has certainly read each file, according to the positions file of Alloy, Promtail or vlagent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, NamedTuple, Optional

from sqmon.config import small_file
from sqmon.errors import reason_of

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


_USUAL_PLACES = (
    "var/lib/alloy/data/loki.source.file.*/positions.yml",
    "var/lib/promtail/positions.yaml",
    "var/lib/vlagent/vlagent-file-checkpoints.json",
    "var/lib/vlagent/*/vlagent-file-checkpoints.json",
)
"""Where the agents keep their positions files when they run with the shipped configurations."""


class AgentFile(NamedTuple):
    """The positions file of the agent that reads a log directory."""

    path: Optional[Path]
    """None when there is none, or none that tells of this directory."""
    positions: Optional[Positions]
    problem: str
    """Why nothing is known of what the agent has read, "" when something is."""


def find(log_dir: Path, given: Optional[Path], root: Path = Path("/")) -> AgentFile:
    """Read the positions file that was `given`, or else the first in one of the usual places that tells of `log_dir`."""
    if given is not None:
        positions = read_positions(given)
        return AgentFile(given, positions, "" if positions is not None else f"{given}: {_why_not(given)}")
    closed = ""
    directories = {os.path.realpath(log_dir), os.path.abspath(log_dir)}  # noqa: PTH100 - links are not to be resolved
    for path in (path for place in _USUAL_PLACES for path in _matching(root, place)):
        try:
            content = small_file.read(path, _LARGEST_FILE)
        except OSError as error:
            closed = closed or f"{path}: can't be read: {reason_of(error)}"
            continue
        # Asked first, because an agent that reads other files is no reason to import a parser.
        if any(f"{directory}/".encode() in content for directory in directories):
            positions = read_positions(path)
            return AgentFile(path, positions, "" if positions is not None else f"{path}: {_why_not(path)}")
    return AgentFile(None, None, closed or "no positions file of an agent in the usual places tells of this directory")


def _matching(root: Path, place: str) -> list[Path]:
    try:
        return sorted(root.glob(place))
    except OSError:
        return []


def _why_not(path: Path) -> str:
    try:
        small_file.read(path, _LARGEST_FILE)
    except OSError as error:
        return f"can't be read: {reason_of(error)}"
    return "is no positions file of Alloy, Promtail or vlagent"


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
