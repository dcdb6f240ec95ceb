"""Lines of JSON for a terminal."""

from __future__ import annotations

import json


def shown_lines(lines: bytes) -> bytes:
    """Return lines of JSON with the same meaning and without a character that a terminal obeys: each is written as an escape."""
    text = lines.decode()
    return "".join(
        character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1] for character in text
    ).encode()
