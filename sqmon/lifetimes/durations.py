"""What is known of a duration, in words."""

from __future__ import annotations

from typing import Optional

from sqmon.config.typed_time import in_words


def between(least: Optional[float], most: Optional[float]) -> str:
    """Return what is known of a duration."""
    if least is None:
        return "for an unknown time, since the clock was set back"
    if most is None:
        return f"at least {in_words(least)}" if least else "for an unknown time"
    low, high = in_words(least), in_words(most)
    if low == high:
        return f"about {low}"
    return f"between {low} and {high}" if least else f"at most {high}"
