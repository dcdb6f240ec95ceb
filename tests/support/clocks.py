"""Clocks that stand still until a test moves them."""

from __future__ import annotations


class FakeClock:
    """A clock at noon of a day in 2026 that `advance` moves; `step` sets only the wall clock, as an administrator does."""

    def __init__(self) -> None:
        self.now_ns = 1_795_521_600 * 10**9
        self.elapsed = 1000.0

    def time_ns(self) -> int:
        """See Clock."""
        return self.now_ns

    def monotonic(self) -> float:
        """See Clock."""
        return self.elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.elapsed += seconds
        self.now_ns += int(seconds * 10**9)

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self.now_ns += int(seconds * 10**9)
