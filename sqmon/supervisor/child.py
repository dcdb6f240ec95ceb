"""The child of one metric: its schedule of starts, across all of its runs."""

from __future__ import annotations

import random
from typing import Optional

from sqmon.config.settings import Metric
from sqmon.supervisor.backoff import Backoff
from sqmon.supervisor.run import Run


class Child:
    """Whether a metric has a process now, and when it gets the next one."""

    def __init__(self, metric: Metric, *, start_at: float, after: Optional[Child] = None) -> None:
        self.metric = metric
        self.start_at = start_at
        self.run: Optional[Run] = None
        """The process of now; None between two runs."""
        self.run_id = ""
        """Of the run of now, or of the last one."""
        self.retired = False
        """Whether it is not to be started any more."""
        self._after = after
        self._backoff = Backoff(jitter=random.Random())

    @property
    def state(self) -> str:
        """The state of the run, or waiting: for the next start."""
        return self.run.state if self.run is not None else "waiting"

    @property
    def pid(self) -> Optional[int]:
        """The process id of the run of now."""
        return self.run.process.pid if self.run is not None else None

    @property
    def waits_for_another(self) -> bool:
        """Whether the child that had this metric before still has a process: one metric never has two."""
        return self._after is not None and self._after.run is not None

    def begin(self, run: Run) -> None:
        """Take note of a new run."""
        self.run, self.run_id = run, run.run_id

    def back_off(self, lasted: float, now: float) -> float:
        """Put the next start off, longer with each failure in a row; return the seconds."""
        wait = self._backoff.wait(lasted)
        self.start_at = now + wait
        return wait
