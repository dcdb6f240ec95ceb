"""The faults in force: what goes wrong, at which step of a conversation, and how often."""

from __future__ import annotations

from dataclasses import dataclass

ANY = "*"
STEPS = ("connect", "login", "prepare", "execute", "fetch", "payload")
ACTIONS = ("hang", "close", "rst", "error", "slow", "garbage", "refuse")
# No statement, hence no function, exists yet.
_BEFORE_STATEMENTS = ("connect", "login")


@dataclass
class Fault:
    """One thing that goes wrong; `times` counts down, and None lasts until the faults are cleared."""

    function: str = ANY
    step: str = "fetch"
    action: str = "hang"
    text: str | None = None
    seconds: float | None = None
    times: int | None = None

    def __post_init__(self) -> None:
        if self.step not in STEPS:
            raise ValueError(f"unknown step {self.step!r}: one of {', '.join(STEPS)}")
        if self.action not in ACTIONS:
            raise ValueError(f"unknown action {self.action!r}: one of {', '.join(ACTIONS)}")
        if self.function != ANY and self.step in _BEFORE_STATEMENTS:
            raise ValueError(f'step {self.step} comes before any function: its function is "*"')
        if self.action == "refuse" and (self.step != "connect" or self.times is not None):
            raise ValueError("refuse closes the listener: step connect only, until cleared, without times")
        if self.action == "slow" and not (self.seconds is not None and self.seconds >= 0):
            raise ValueError("slow needs seconds, 0 or more")
        if self.times is not None and self.times < 1:
            raise ValueError("times is 1 or more; without it a fault lasts until cleared")

    @property
    def error(self) -> str:
        """The text of an `error` fault."""
        return "Internal Runtime Error" if self.text is None else self.text


class Faults:
    """The faults in force, at most one for a function at a step."""

    def __init__(self) -> None:
        self._faults: dict[tuple[str, str], Fault] = {}

    def put(self, fault: Fault) -> None:
        """Set a fault in place of an earlier one for the same function and step."""
        self._faults[fault.function, fault.step] = fault

    def clear(self) -> None:
        """Clear all faults; what already hangs goes on hanging."""
        self._faults.clear()

    @property
    def refusing(self) -> bool:
        """Whether listeners have to be closed."""
        fault = self._faults.get((ANY, "connect"))
        return fault is not None and fault.action == "refuse"

    def take(self, step: str, function: str = ANY) -> Fault | None:
        """Return the fault that acts here, and count it: one set for the function comes before one set for all functions."""
        for key in ((function, step), (ANY, step)):
            fault = self._faults.get(key)
            if fault is None:
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    del self._faults[key]
            return fault
        return None
