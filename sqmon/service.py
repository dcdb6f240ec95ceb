"""`sqmon run` from its first check to its last seal."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import sys
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext
from types import FrameType
from typing import TYPE_CHECKING, Iterable, Optional

from sqmon import __version__, checks, metrics_file
from sqmon.clock import SystemClock
from sqmon.config import Metric, Output, Settings
from sqmon.errors import SqmonError
from sqmon.events import Events
from sqmon.health import Health
from sqmon.notify import Notifier
from sqmon.outcome import Outcome
from sqmon.record import new_run_id
from sqmon.supervisor import Supervisor

if TYPE_CHECKING:
    from sqmon.exporter import Exporter


def run(settings: Settings, *, password_in_ps: bool = False) -> None:
    """Check, then poll until SIGTERM or SIGINT.

    Raises SqmonError before anything was written when the metrics file or the directory can't be used, and after the events have said
    why when a check fails.
    """
    metrics = metrics_file.read(settings.metrics_file, settings.query_timeout)
    clock = SystemClock()
    with _Stoppable(), _Lock(settings.output):
        context = forkserver()
        notifier = Notifier(os.environ)
        exporter = _exporter(settings)
        health = Health(settings.output, notifier, exporter, clock=clock)
        listener = exporter.on_event if exporter else None
        events = Events(settings.output, new_run_id(clock.time_ns()), clock=clock, listener=listener)
        events.write("info", "start", **_about(settings, metrics))
        if password_in_ps:
            events.write("warning", "check", check="password", verdict="warning", text=PASSWORD_WARNING)
        outcomes = [checks.check_metrics(settings.metrics_file, metrics)]
        try:
            _pass(outcomes, events)
            _pass(checks.check_outside(settings.outside, context=context, clock=clock), events)
        except (SqmonError, KeyboardInterrupt) as error:
            events.write("info", "stop", reason=str(error) or "stopped during the start-up checks")
            events.close()
            raise
        Supervisor(settings, metrics, events, context=context, clock=clock, health=health, notifier=notifier).run()
        if exporter is not None:
            exporter.close()


PASSWORD_WARNING = "other users of this host can read --password in the process list; use --password_file or SQMON_PASSWORD"


def forkserver() -> ForkServerContext:
    """Return the context whose processes are forked from one that has imported pysqream, and nothing else, once."""
    # Children would import the program's main script again, each for itself, for the sake of functions that it does not define.
    vars(sys.modules["__main__"]).pop("__file__", None)
    # The forkserver brings a second process that would clean up semaphores and shared memory, of which there are none here.
    nobody = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    vars(resource_tracker).update(ensure_running=lambda: None, getfd=lambda: nobody)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sqmon.preload"])
    return context


def _pass(outcomes: Iterable[Outcome], events: Events) -> None:
    """Write an event per outcome; raise SqmonError for the first that failed."""
    levels = {"passed": "info", "failed": "error"}
    for outcome in outcomes:
        events.write(
            levels.get(outcome.verdict, "warning"),
            "check",
            check=outcome.name,
            verdict=outcome.verdict,
            text=outcome.text,
        )
        if outcome.verdict == "failed":
            raise SqmonError(f"{outcome.name}: {outcome.text}")


def _exporter(settings: Settings) -> Optional[Exporter]:
    if settings.metrics_port is None:
        return None
    from sqmon.exporter import Exporter  # noqa: PLC0415 - see health

    return Exporter(settings.metrics_address, settings.metrics_port)


def _about(settings: Settings, metrics: list[Metric]) -> dict[str, object]:
    output, to = settings.output, settings.connection
    return {
        "version": __version__,
        "pid": os.getpid(),
        "host": to.host,
        "port": to.port,
        "service": to.service,
        "cluster": settings.cluster or None,
        "log": str(output.single_file or output.log_dir.absolute()),
        "metrics_file": str(settings.metrics_file) if settings.metrics_file else None,
        "metrics": len(metrics),
    }


class _Lock:
    """One service per directory: the second is refused with the first one's process id."""

    def __init__(self, output: Output) -> None:
        self._path = None if output.single_file is not None else output.log_dir / ".lock"
        self._directory = output.log_dir
        self._fd: Optional[int] = None

    def __enter__(self) -> None:
        try:
            self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            if self._path is None:
                return
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except OSError as error:
            raise SqmonError(f"{self._directory}: can't be written to: {error.strerror}; give another --log_dir") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise SqmonError(
                f"{self._directory}: sqmon is already running here (pid {holder}); stop it or give another --log_dir"
            ) from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, b"%d\n" % os.getpid())

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)


class _Stoppable:
    """Until the supervisor takes over, SIGTERM is what Ctrl-C is."""

    def __enter__(self) -> None:
        signal.signal(signal.SIGTERM, _interrupt)

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(_: int, __: Optional[FrameType]) -> None:
    raise KeyboardInterrupt
