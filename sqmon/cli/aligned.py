"""Tables whose columns stand below each other, however wide they are."""

from __future__ import annotations

from typing import Collection, Sequence

from rich.cells import cell_len

from sqmon.errors import shown


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Return the rows as lines without trailing blanks; the columns in `right` are aligned to the right. No character steers a terminal."""
    table = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*table)]
    lines = []
    for row in table:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths)):
            blanks = " " * (width - cell_len(cell))
            cells.append(blanks + cell if place in right else cell + blanks)
        lines.append("  ".join(cells).rstrip())
    return lines
