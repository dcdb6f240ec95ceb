"""One cluster as the supervisor drives it: its children, events, login gate, log directory and status."""

from __future__ import annotations

import contextlib
import selectors
from typing import NamedTuple, Optional, Sequence

from sqmon.clock import Clock
from sqmon.config.settings import Configuration
from sqmon.errors import ConfigError
from sqmon.health import status_file
from sqmon.health.status_file import MetricStatus
from sqmon.supervisor.archivist import Archivist, Places
from sqmon.supervisor.children import Children
from sqmon.supervisor.cluster_checks import ClusterChecks
from sqmon.supervisor.directory_status import agent_status, proof_status
from sqmon.supervisor.forkserver import Forkserver
from sqmon.supervisor.lifetimes_child import LifetimesChild
from sqmon.supervisor.log_directory import LogDirectory
from sqmon.supervisor.login_gate import LoginGate
from sqmon.supervisor.opening import Opened
from sqmon.supervisor.sweeper import Sweeper
from sqmon.supervisor.wakeup import on_grid

_LOOK_SECONDS = 1.0
_END_SECONDS = 0.05


class Shared(NamedTuple):
    """What all clusters use together."""

    forkserver: Forkserver
    selector: selectors.BaseSelector
    clock: Clock
    archivers: Places
    """How many archivers may be at work: each takes memory, and the processor when nobody else wants it."""


class Cluster:
    """All that belongs to one SQreamDB. Nothing here waits, except for `close`; the loop calls everything else."""

    def __init__(self, opened: Opened, shared: Shared, *, begin_at: Optional[float] = None) -> None:
        """`begin_at` is when the start-up checks begin; None for a cluster that has passed them."""
        self.configuration = opened.configuration
        self.events = opened.events
        self._lock = opened.lock
        self._clock = shared.clock
        self._journal = opened.journal
        self._health = opened.health
        self._gate = LoginGate(self._password)
        self._problems = [*opened.configuration.problems]
        self._sealer = opened.sealer
        self._next_look = 0.0
        self._stopping = self._last_polls_told = False
        self._next_end = float("inf")
        """When to look whether what is being stopped has ended."""
        self._metrics: list[MetricStatus] = []
        self._directory = LogDirectory(opened.lock, self._sweeper(opened, shared), opened.events, crew=opened.crews.locks)
        self._children = Children(
            opened.configuration.metrics,
            opened.configuration.settings,
            forkserver=shared.forkserver,
            gate=self._gate,
            journal=opened.journal,
            selector=shared.selector,
            clock=shared.clock,
        )
        self._lifetimes = self._lifetimes_child(opened, shared)
        self._checks: Optional[ClusterChecks] = None
        if opened.configuration.problems:
            self.reject(str(opened.configuration.file), opened.configuration.problems)
        elif begin_at is not None:
            self._checks = ClusterChecks(
                opened.configuration.settings,
                opened.events,
                self._gate,
                forkserver=shared.forkserver,
                selector=shared.selector,
                clock=shared.clock,
                begin_at=begin_at,
            )
            if opened.pause is not None:
                self._checks.observe(opened.pause, shared.clock.monotonic())

    @property
    def due(self) -> float:
        """When `turn` has something to do, in monotonic seconds."""
        round_ = self._children.next_round if self._checks is None else self._checks.due
        return min(round_, self._children.next_hearing, self._next_look, self._next_end)

    @property
    def ousted(self) -> str:
        """Why this cluster has to be left: another service has its directory. Empty until then."""
        return self._directory.ousted

    @property
    def running(self) -> bool:
        """Whether a process lives that can be waited for."""
        return self._children.running or (self._lifetimes is not None and self._lifetimes.running)

    @property
    def summary(self) -> str:
        """In one line that all is well, or what is not."""
        return status_file.summary(self._metrics, self._wrong())

    @property
    def well(self) -> bool:
        """Whether every metric is well, and so is everything else."""
        return not self._wrong() and all(metric.healthy for metric in self._metrics)

    def begin(self) -> None:
        """Begin with what is left over from earlier services; everything else begins with the first turn."""
        if self._sealer is not None:
            self._sealer.start()

    def turn(self, now: float) -> int:
        """Do what is due; return how many children were heard."""
        heard = 0
        if now >= self._children.next_hearing:
            heard = self._children.hear()
        if self._checks is not None:
            self._check(self._checks, now)
        elif now >= self._children.next_round:
            self._children.go_round(now)
        if self._lifetimes is not None and self._checks is None:
            self._follow(self._lifetimes, now)
        if now >= self._next_look:
            # Rounds may follow each other closely, as when many children start; nobody asks that often.
            self._next_look = on_grid(now + _LOOK_SECONDS)
            self._directory.look(now)
            self._tell_health()
        self.events.tick()
        return heard

    def forgive(self, seconds: float) -> None:
        """Leave a time out of account in which this process was asleep and heard nobody."""
        self._children.forgive(seconds)
        if self._lifetimes is not None:
            self._lifetimes.forgive(seconds)

    def take(self, configuration: Configuration, now: float) -> None:
        """Poll what the configuration names from now on, in the same way as before."""
        self.configuration, self._problems = configuration, []
        changes = self._children.apply(configuration.metrics, now)
        lists = {name: ", ".join(found) for name, found in changes._asdict().items()}
        self.events.write("info", "config_reloaded", file=str(configuration.file), **lists)

    def reject(self, file: str, problems: Sequence[str]) -> None:
        """Stay as it is, and say what is wrong with the new configuration."""
        self._problems = [*problems]
        self.events.write("error", "config_rejected", file=file, problems="; ".join(problems))
        self._next_look = 0.0

    def stop(self, now: float) -> None:
        """Ask every process to end, and start no more."""
        self._stopping = True
        if self._lifetimes is not None:
            self._next_end = now
        self._end_checks()
        self._children.stop(now)

    def leave(self) -> None:
        """Let go of all processes; `close` is to follow, in whichever thread."""
        self._end_checks()
        if self._lifetimes is not None:
            self._lifetimes.finish()
        self._children.finish()
        self._directory.stop()

    def close(self, reason: str, *, removed: bool = False) -> None:
        """Write the last events and the last status, and let others have the directory; waits some seconds for a disk at most."""
        self._directory.close()
        self.events.write("info", "stop", reason=reason)
        self.events.close()
        self._tell_health(stopped=True, removed=removed)
        if self._lock is not None:
            self._lock.release()

    def _follow(self, lifetimes: LifetimesChild, now: float) -> None:
        if self._stopping:
            self._next_end = now + _END_SECONDS
        if self._stopping and not self._children.running and not self._last_polls_told:
            self._last_polls_told = True
            lifetimes.stop(now)  # only now, so that it can tell what the last polls reveal
        if now >= self._next_look or self._stopping:
            lifetimes.look(now)

    def _lifetimes_child(self, opened: Opened, shared: Shared) -> Optional[LifetimesChild]:
        segments = opened.streams.segments
        if segments is None or not opened.configuration.settings.lifetimes or opened.configuration.problems:
            return None
        return LifetimesChild(segments, opened.journal, forkserver=shared.forkserver, selector=shared.selector, clock=shared.clock)

    def _check(self, checks: ClusterChecks, now: float) -> None:
        """Go on with the checks; after the last one the children begin."""
        if now >= checks.due:
            checks.look(now)
        if checks.trouble:
            for child in self._children:
                self._journal.not_asked(child, checks.trouble)
        if checks.passed:
            self._checks = None
            self._children.begin(now)

    def _end_checks(self) -> None:
        if self._checks is not None:
            self._checks.close()
            self._checks = None

    def _sweeper(self, opened: Opened, shared: Shared) -> Optional[Sweeper]:
        segments = opened.streams.segments
        if segments is None:
            return None
        archivist = Archivist(
            segments.log_dir,
            opened.events,
            forkserver=shared.forkserver,
            selector=shared.selector,
            clock=shared.clock,
            places=shared.archivers,
        )
        retention = opened.configuration.settings.retention
        return Sweeper(segments, retention, opened.events, archivist, clock=shared.clock, crew=opened.crews.sweeps)

    def _tell_health(self, *, stopped: bool = False, removed: bool = False) -> None:
        self._metrics = [self._journal.status(child) for child in self._children]
        lifetimes = self._lifetimes.status() if self._lifetimes is not None else None
        agent, proof = agent_status(self._directory.agent), proof_status(self._directory.proof)
        self._health.tell(self._metrics, self._wrong(), agent=agent, lifetimes=lifetimes, proof=proof, stopped=stopped, removed=removed)

    def _wrong(self) -> list[str]:
        """Return what is wrong with anything but the metrics."""
        paused = "logins are paused: the last one was refused" if self._gate.paused else ""
        error = self._lifetimes.status().error if self._lifetimes is not None else ""
        lifetimes = f"lifetimes: {error}" if error else ""
        return [*self._problems, *filter(None, (paused, self.events.trouble, self._directory.trouble, lifetimes))]

    def _password(self) -> Optional[str]:
        with contextlib.suppress(ConfigError):
            return self.configuration.settings.connection.password.read()
        return None
