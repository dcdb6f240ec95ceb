"""The proofs that `sqmon verify --watch` leaves in the log directory: which segments they free, and what events tell of them."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import NamedTuple, Optional

import msgspec

from sqmon.clock import Clock, utc_stamp
from sqmon.storage.archive import card_of
from sqmon.storage.proof_file import Proof, ProofFile
from sqmon.supervisor.event_stream import EventStream

_AGAIN_NS = 3600 * 10**9  # after which an event repeats what is still wrong
_LATE_NS = 600 * 10**9
_EVENTS_AT_ONCE = 500


class _State(NamedTuple):
    proved: bool
    problem: str


class Proofs:
    """Believes a proof of a segment only when it names the SHA-256 that the segment was sealed with."""

    def __init__(self, log_dir: Path, events: EventStream, *, clock: Clock) -> None:
        self.shown: Optional[Proof] = None
        """What was found last, as far as that still holds; None when nobody looks."""
        self._proof: Optional[Proof] = None  # written by the side thread
        self._log_dir = log_dir
        self._file = ProofFile(log_dir)
        self._events = events
        self._clock = clock
        self._proved: dict[str, str] = {}
        self._first = True
        self._verified: deque[tuple[str, str]] = deque()  # filled by the side thread, emptied by `tell`
        self._told: Optional[_State] = None
        self._told_ns = 0

    def look(self) -> list[Path]:
        """Return the segments that are proved to be in Loki; called by a side thread."""
        self._proof = proof = self._file.read()
        claimed = {} if proof is None else proof.segments
        self._proved = {file: sha256 for file, sha256 in self._proved.items() if claimed.get(file) == sha256}
        for file, sha256 in claimed.items():
            if file not in self._proved and self._sealed_as(file) == sha256:
                self._proved[file] = sha256
                # What an earlier service may have told of is not told again.
                if not self._first:
                    self._verified.append((file, sha256))
        self._first = False
        return [self._log_dir / file for file in self._proved]

    def _sealed_as(self, file: str) -> str:
        """Return the SHA-256 of the seal, "" when there is none."""
        seal = self._events.fingerprint(file)
        if seal is not None:
            return seal.sha256
        try:
            return card_of(self._log_dir / file).sha256
        except (OSError, ValueError):
            return ""

    def tell(self) -> None:
        """Write an event for each segment that has been proved since, and when the whole is proved no more, or again; never waits."""
        for _ in range(min(len(self._verified), _EVENTS_AT_ONCE)):
            file, sha256 = self._verified.popleft()
            self._events.write("info", "segment_verified", file=file, sha256=sha256)
        self.shown = proof = self._proof
        if proof is None:
            return
        now_ns = self._clock.time_ns()
        state = self._state(proof, now_ns)
        self.shown = msgspec.structs.replace(proof, proved=state.proved, problem=state.problem)
        again = not state.proved and now_ns - self._told_ns >= _AGAIN_NS
        if state != self._told or again:
            if self._told is not None or not state.proved:
                up_to = None if proof.up_to_ns is None else utc_stamp(proof.up_to_ns)
                level = "info" if state.proved else "warning"
                self._events.write(
                    level,
                    "proof",
                    proved=state.proved,
                    up_to=up_to,
                    unproved_lines=proof.unproved_lines,
                    reason=state.problem,
                    url=proof.url,
                )
            self._told, self._told_ns = state, now_ns

    def _state(self, proof: Proof, now_ns: int) -> _State:
        if not proof.ended and now_ns - proof.looked_ns > 2 * proof.every_s * 1e9 + _LATE_NS:
            return _State(False, f"sqmon verify --watch has not looked since {utc_stamp(proof.looked_ns)[:19]}Z")
        return _State(proof.proved, proof.problem)
