"""The settings of the simulated cluster's life, which can be changed while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from sqmon.simulator.server_clock import zone_of

FURTHEST = 10 * 365 * 86400.0


@dataclass(frozen=True)
class Life:
    """Settings of the cluster and of the server's clock; raises ValueError for one that is out of range.

    `contention` is the share of statements that want the same lock, `statement_lock_timeout` how many seconds a statement waits
    for its locks. The server's clock is `clock_skew` seconds ahead of the host's, in `time_zone`, "" being the host's. When
    `idle`, no statement arrives and no node fails but by order.
    """

    contention: float = 0.0
    statement_lock_timeout: float = 3.0
    clock_skew: float = 0.0
    time_zone: str = ""
    idle: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.contention <= 1:
            raise ValueError(f"contention is a share from 0 to 1, not {self.contention}")
        if not 0 <= self.statement_lock_timeout <= FURTHEST:
            raise ValueError(f"statement_lock_timeout is a number of seconds, 0 or more, not {self.statement_lock_timeout}")
        if not abs(self.clock_skew) <= FURTHEST:
            raise ValueError(f"clock_skew is a number of seconds within ten years, not {self.clock_skew}")
        zone_of(self.time_zone)
