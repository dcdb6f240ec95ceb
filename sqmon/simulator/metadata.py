"""The latency of metadata messages per worker and message type, accumulated until it is reset."""

from __future__ import annotations

from dataclasses import dataclass

HEARTBEAT = "NodeHeartbeatMsg"
CHECK_LOCKS = "CheckLocksMsg"
READ_MANY = "KeysAndValuesNMsg"
READ_PREFIX = "KeysWithPrefixMsg"


@dataclass
class Latency:
    """Running statistics of one message type, in milliseconds."""

    count: int = 0
    average: float = 0.0
    squares: float = 0.0
    maximum: float = 0.0
    maximum_at: float = 0.0

    def add(self, milliseconds: float, at: float) -> None:
        """Count one more message; the mean and the squares stay exact however many there are (Welford)."""
        self.count += 1
        difference = milliseconds - self.average
        self.average += difference / self.count
        self.squares += difference * (milliseconds - self.average)
        if milliseconds > self.maximum:
            self.maximum, self.maximum_at = milliseconds, at

    @property
    def variance(self) -> float:
        """The variance of all messages so far."""
        return self.squares / self.count if self.count else 0.0


class MetadataStats:
    """The latencies of the whole cluster since the last reset."""

    def __init__(self) -> None:
        self.latencies: dict[tuple[str, str], Latency] = {}

    def add(self, instance: str, message: str, milliseconds: float, at: float) -> None:
        """Count one message of a type, which appears with its first message."""
        self.latencies.setdefault((instance, message), Latency()).add(milliseconds, at)

    def reset(self) -> None:
        """Forget every message."""
        self.latencies.clear()
