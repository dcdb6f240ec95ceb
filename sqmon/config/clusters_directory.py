"""The directory of clusters as a source of configurations: it is read again in a side thread when it may have changed."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional, Union

from sqmon.config.clusters import Basis, Described, Reading, read_all
from sqmon.config.settings import Configuration, SegmentOutput, Settings
from sqmon.config.sources import Change, Rejected, Removed
from sqmon.errors import ConfigError
from sqmon.side_thread import SideThread

if TYPE_CHECKING:
    from sqmon.config.file_watch import Watch

_QUIET_SECONDS = 0.25
_PATIENCE_SECONDS = 2.0
_CHECK_SECONDS = 0.05
_END_SECONDS = 1.0

Readings = dict[str, Reading]


class _Doubt(NamedTuple):
    """Something that is only believed when it stays so for a moment: a mistake, or that a file is gone."""

    key: Optional[tuple[object, ...]]
    """None when the file is gone."""
    since: float


class ClustersDirectory:
    """What the files said last, and whether it is time to look again.

    A valid file takes effect at once. Since a file may be half written, or be replaced just now, it is called wrong or gone only when it is
    so twice in a row, or for two seconds. A directory that can't be read, or has become empty, changes nothing.
    """

    def __init__(self, directory: Path, base: Settings) -> None:
        """What the files leave out is as in `base`; where that names a cluster, it is the only one."""
        self._directory = directory
        self._base = base
        self._basis = Basis(base.connection, base.metrics_file, base.query_timeout, base.cluster)
        self._known: dict[str, tuple[object, ...]] = {}
        self._told: Readings = {}
        self._doubts: dict[str, _Doubt] = {}
        self._files: set[Path] = set()
        """The metrics files that the configurations name."""
        self._look_at: Optional[float] = None
        self._looked_at = float("-inf")
        self._reading = False
        self._found: deque[Union[Readings, ConfigError]] = deque()  # filled by the side thread, emptied by `changes`
        self._thread: SideThread[Path] = SideThread("clusters", self._read, room=1)
        self._watch: Optional[Watch] = None

    @property
    def due(self) -> float:
        """See Source."""
        if self._reading:
            return self._looked_at + _CHECK_SECONDS if not self._found else 0.0
        return float("inf") if self._look_at is None else self._look_at

    @property
    def settled(self) -> bool:
        """See Source."""
        return not self._reading and self._look_at is None

    def read(self) -> list[Configuration]:
        """See Source; one mistake, in whichever file, is enough to start nothing."""
        readings = read_all(self._directory, self._basis)
        problems = [problem for reading in readings.values() for problem in reading.described.problems]
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))  # those of the defaults once
        self._known = {name: reading.key for name, reading in readings.items()}
        self._told = readings
        self._note_files(readings)
        return [self._configuration(reading.described) for reading in readings.values()]

    def watch(self, notice: Callable[[], None]) -> str:
        """See Source."""
        from sqmon.config.file_watch import Watch  # noqa: PLC0415 - see reload

        self._watch = Watch(lambda: {self._directory.absolute()}, lambda _: True, self._identities, notice)
        trouble = self._watch.start()
        return trouble and f"{self._directory}: is looked at once a second, since the kernel does not tell of changes: {trouble}"

    def unwatch(self) -> None:
        """See Source."""
        if self._watch is not None:
            self._watch.stop()
        self._thread.end(_END_SECONDS)

    def touched(self, now: float) -> None:
        """See Source."""
        if self._look_at is None:
            self._look_at = max(now, self._looked_at + _QUIET_SECONDS)

    def changes(self, now: float) -> list[Change]:
        """See Source."""
        found: list[Change] = []
        if self._reading and self._found:
            self._reading = False
            found = self._compared(self._found.popleft(), now)
        if self._reading:
            self._looked_at = now
        elif self._look_at is not None and now >= self._look_at:
            self._look_at, self._looked_at, self._reading = None, now, True
            self._thread.offer(self._directory)
        return found

    def _read(self, directory: Path) -> None:
        try:
            self._found.append(read_all(directory, self._basis))
        except ConfigError as error:
            self._found.append(error)

    def _identities(self) -> object:
        """What is looked at once a second: everything about the files of the directory, and about the metrics files that they name."""
        from sqmon.config.file_watch import identity  # noqa: PLC0415 - see reload

        try:
            paths = sorted(self._directory.iterdir())
        except OSError:
            paths = []
        return [(path, identity(path)) for path in (*paths, *sorted(self._files))]

    def _compared(self, readings: Union[Readings, ConfigError], now: float) -> list[Change]:
        """Return what is different from what was told last."""
        if isinstance(readings, ConfigError):
            problems = readings.problems
            readings = {name: _rejected(reading, problems) for name, reading in self._told.items()}
        self._note_files(readings)
        changes: list[Change] = []
        for name, reading in readings.items():
            if self._known.get(name) == reading.key:
                self._doubts.pop(name, None)
            elif not reading.described.problems or self._stays(name, reading.key, now):
                self._known[name], self._told[name] = reading.key, reading
                changes.append(self._change(reading.described))
        for name in [name for name in self._known if name not in readings]:
            if self._stays(name, None, now):
                del self._known[name], self._told[name]
                changes.append(Removed(name))
        return changes

    def _note_files(self, readings: Readings) -> None:
        self._files = {reading.metrics_file for reading in readings.values() if reading.metrics_file is not None}

    def _stays(self, name: str, key: Optional[tuple[object, ...]], now: float) -> bool:
        """Return whether it was so before; if not, have it looked at again."""
        doubt = self._doubts.get(name)
        if doubt is not None and (doubt.key == key or now - doubt.since >= _PATIENCE_SECONDS):
            del self._doubts[name]
            return True
        self._doubts[name] = _Doubt(key, now if doubt is None else doubt.since)
        self._look_at = now + _QUIET_SECONDS
        return False

    def _change(self, described: Described) -> Change:
        configuration = self._configuration(described)
        return Rejected(described.name, described.file, described.problems, configuration) if described.problems else configuration

    def _configuration(self, described: Described) -> Configuration:
        output = self._base.output
        assert isinstance(output, SegmentOutput)
        settings = replace(
            self._base,
            connection=described.connection,
            outside=replace(self._base.outside, connection=described.connection),
            output=replace(output, log_dir=output.log_dir / described.name, cluster=described.name),
            metrics_file=None,
            clusters_dir=None,
        )
        return Configuration(settings, described.metrics, described.file, described.problems)


def _rejected(reading: Reading, problems: list[str]) -> Reading:
    """Return the reading of a cluster whose directory can't be read."""
    return reading._replace(key=(*reading.key[:-1], tuple(problems)), described=reading.described._replace(metrics=[], problems=problems))
