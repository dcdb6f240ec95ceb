"""Time stamps as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqmon.clock import stamp_ns, utc_stamp


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_stamp_keeps_every_nanosecond(moment: int) -> None:
    """A stamp that was written is read again without losing a nanosecond."""
    assert moment == stamp_ns(utc_stamp(moment))


@pytest.mark.parametrize("text", ["", "2026-11-24", "2026-13-24T15:30:50.123456789Z", "2026-11-24T15:30:50.123456Z", "x" * 30])
def test_other_texts_are_no_stamps(text: str) -> None:
    """A text that is not a stamp of ours is not taken for one."""
    with pytest.raises(ValueError, match=r"time|month"):
        stamp_ns(text)
