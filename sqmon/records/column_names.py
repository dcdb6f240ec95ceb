"""The normalisation of the server's column names into keys that JSON, Loki and people can use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST_NAME = 128  # a longer name is the expression that was selected

_OTHERS = re.compile(r"[^a-z0-9]+")


def normalised(columns: Sequence[str], reserved: Iterable[str]) -> tuple[str, ...]:
    """Return lower-case ASCII keys in the same order, each unique and none of `reserved`; a clash gets `_2`, `_3`, ..."""
    taken = dict.fromkeys(reserved, 1)  # with the last suffix tried, so that a thousand equal names don't need a million tries
    names = []
    for position, column in enumerate(columns, start=1):
        # Cut before lower(): a name of megabytes must not be copied more than once.
        name = _OTHERS.sub("_", column[: 4 * LONGEST_NAME].lower())[:LONGEST_NAME] or f"column_{position}"
        unique = name
        while unique in taken:
            taken[name] += 1
            unique = f"{name}_{taken[name]}"
        taken[unique] = 1
        names.append(unique)
    return tuple(names)
