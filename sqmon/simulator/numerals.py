"""Exact decimals: a numeric is a 128 bit integer, the value times ten to its scale."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Sequence

# The default context rounds at 28 digits; numeric(38, s) needs more.
_EXACT = Context(prec=60)


def numerics(values: Sequence[Decimal | None], scale: int) -> bytes:
    """Return sixteen bytes for each value, in two's complement and little endian; digits beyond the scale are rounded."""
    return b"".join(
        (0 if value is None else int(_EXACT.to_integral_value(_EXACT.scaleb(value, scale)))).to_bytes(16, "little", signed=True)
        for value in values
    )
