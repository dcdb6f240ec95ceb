"""Stamps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqmon.clock import stamp_ns, utc_stamp


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_stamp_keeps_every_nanosecond(moment: int) -> None:
    """What was written can be read again."""
    assert moment == stamp_ns(utc_stamp(moment))


@pytest.mark.parametrize("text", ["", "2026-11-24", "2026-13-24T15:30:50.123456789Z", "2026-11-24T15:30:50.123456Z", "x" * 30])
def test_other_texts_are_no_stamps(text: str) -> None:
    """A file may hold anything."""
    with pytest.raises(ValueError, match=r"time|month"):
        stamp_ns(text)
