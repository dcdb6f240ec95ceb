"""How far the agent has read each file, from the positions file of Alloy or Promtail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

# Both agents write one YAML mapping by machine, always in the same form: a whole YAML parser would be a dependency.
_ENTRY = re.compile(r"\s+(?!\?)(?P<path>\S.*?): [\"']?(?P<offset>[0-9]+)[\"']?")  # Promtail: path: "offset"
_KEY = re.compile(r"\s+\? (?:path: )?(?P<path>.+)")  # Alloy: a key of several lines, and its value on another
_OFFSET = re.compile(r"\s+: [\"']?(?P<offset>[0-9]+)[\"']?")


def read_positions(path: Path) -> Optional[dict[Path, int]]:
    """How many bytes of each file have been read; None when nobody can say, since there is no such file or it is broken."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    if lines and not any(line.startswith("positions:") for line in lines):
        return None
    found: dict[Path, int] = {}
    key = ""
    for line in lines:
        entry, opened, offset = _ENTRY.fullmatch(line), _KEY.fullmatch(line), _OFFSET.fullmatch(line)
        if offset and key:
            _note(found, key, offset["offset"])
            key = ""
        elif opened:
            key = opened["path"]
        elif entry and not key:
            _note(found, entry["path"], entry["offset"])
    return found


def _note(found: dict[Path, int], text: str, offset: str) -> None:
    path = Path(_unquoted(text))
    # A path may have several entries, one for each set of labels: the one that is behind counts.
    found[path] = min(int(offset), found.get(path, int(offset)))


def _unquoted(text: str) -> str:
    if text[:1] == text[-1:] == "'":
        return text[1:-1].replace("''", "'")
    if text[:1] == text[-1:] == '"':
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return text
