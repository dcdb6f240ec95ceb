"""The forkserver as seen by the supervisor: it takes orders, answers later, and is replaced when it does not answer."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import signal
import socket
import sys
import time
from typing import Callable, Optional

from sqmon.clock import Clock
from sqmon.interpreter import isolated
from sqmon.ipc.fork_orders import Answer, Ended, Forked, receive_answer, send_order
from sqmon.ipc.reaping import reaped
from sqmon.ipc.start import FORKSERVER

_FIRST_ANSWER_SECONDS = 30.0  # it imports first
_ANSWER_SECONDS = 10.0
_MOST_UNANSWERED = 16
_END_SECONDS = 1.0


class Process:
    """A forked process, from its order to its end."""

    def __init__(self, pipe: socket.socket, lifeline: int) -> None:
        self.pipe = pipe
        """What it says; at the end of that it is gone."""
        self.pid: Optional[int] = None
        """None until the forkserver has answered."""
        self.code: Optional[int] = None
        """How it ended: an exit code, or the negative number of a signal."""
        self.error = ""
        """Why the order came to nothing."""
        self._lifeline: Optional[int] = lifeline

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to a process that lives and whose id is known."""
        if self.pid is not None and self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once, even one that is stopped or not forked yet."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
            # It may have been stopped before it could tie itself to its lifeline.
            self.signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill what is left of the process, and forget what it says."""
        self.kill()
        self.pipe.close()


class _Server:
    """A living forkserver process."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        self.patience = _FIRST_ANSWER_SECONDS
        with theirs:
            theirs.set_inheritable(True)
            try:
                self.pid = os.posix_spawn(
                    sys.executable,
                    isolated(f"import importlib; importlib.import_module({FORKSERVER!r}).main({theirs.fileno()})"),
                    os.environ,
                    file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
                )
            except OSError:
                self.channel.close()
                raise

        self.reaped = False

    def end(self) -> None:
        self.channel.close()
        if not self.reaped:
            # It may be stopped, or in the middle of an import.
            os.kill(self.pid, signal.SIGKILL)


class Forkserver:
    """Starts processes without ever waiting for one."""

    def __init__(self, selector: selectors.BaseSelector, *, clock: Clock, on_lost: Callable[[str], None]) -> None:
        """Have `selector` call `hear` when an answer comes, and `on_lost` called with the reason when a forkserver is gone."""
        self._selector = selector
        self._clock = clock
        self._on_lost = on_lost
        self._server: Optional[_Server] = None
        self._numbers = itertools.count(1)
        self._processes: dict[int, Process] = {}
        """By the number of the order."""
        self._unanswered: dict[int, float] = {}
        """When the orders that wait for an answer were sent, in monotonic seconds."""
        self._orphans: dict[int, Process] = {}
        """Processes by id whose forkserver is gone."""

    @property
    def busy(self) -> bool:
        """Whether so many orders are unanswered that another one had better wait."""
        return len(self._unanswered) >= _MOST_UNANSWERED

    @property
    def deadline(self) -> float:
        """When a forkserver that has not answered until then is replaced, in monotonic seconds."""
        if self._server is None or not self._unanswered:
            return float("inf")
        return min(self._unanswered.values()) + self._server.patience

    def start(self, module: str, *args: object) -> Process:
        """Order a process that calls `main(*args, pipe)` of `module`. Raises OSError when the system does not even take the order."""
        lifeline, end = os.pipe()
        with contextlib.ExitStack() as ours_alone:
            ours_alone.callback(os.close, lifeline)
            with contextlib.ExitStack() as unless_sent:
                unless_sent.callback(os.close, end)
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                unless_sent.callback(ours.close)
                with theirs:
                    number = next(self._numbers)
                    self._send(number, theirs.fileno(), lifeline, module, args)
                unless_sent.pop_all()
        process = Process(ours, end)
        self._processes[number] = process
        self._unanswered[number] = self._clock.monotonic()
        return process

    def _send(self, number: int, pipe: int, lifeline: int, module: str, args: tuple[object, ...]) -> None:
        try:
            send_order(self._channel(), number, pipe=pipe, lifeline=lifeline, module=module, args=args)
        except (BrokenPipeError, ConnectionResetError):
            # It has ended, and that was not heard yet.
            self._lose("it ended")
            send_order(self._channel(), number, pipe=pipe, lifeline=lifeline, module=module, args=args)

    def _channel(self) -> socket.socket:
        if self._server is None:
            self._server = _Server()
            self._selector.register(self._server.channel, selectors.EVENT_READ, self.hear)
        return self._server.channel

    def hear(self) -> None:
        """Take the answers that have come."""
        while self._server is not None:
            try:
                answer = receive_answer(self._server.channel)
            except BlockingIOError:
                return
            if answer is None:
                self._lose("it ended")
            else:
                self._server.patience = _ANSWER_SECONDS
                self._take(answer)

    def look_after(self, now: float) -> None:
        """Replace a forkserver that does not answer, and reap what has ended."""
        self.hear()
        if now >= self.deadline:
            self._lose(f"it did not answer for {now - min(self._unanswered.values()):.0f} s, killed")
        self._reap()

    def forgive(self, seconds: float) -> None:
        """Leave a time out of account in which nobody could have answered."""
        for number in self._unanswered:
            self._unanswered[number] += seconds

    def close(self) -> None:
        """End the forkserver; the processes that are left go on until their lifelines are closed."""
        if self._server is None:
            return
        self._selector.unregister(self._server.channel)
        self._server.end()
        give_up = time.monotonic() + _END_SECONDS
        while time.monotonic() < give_up and os.waitpid(self._server.pid, os.WNOHANG) == (0, 0):
            time.sleep(0.005)
        self._server = None

    def _take(self, answer: Answer) -> None:
        self._unanswered.pop(answer.order, None)
        process = self._processes[answer.order]
        if isinstance(answer, Forked):
            process.pid = answer.pid
            return
        del self._processes[answer.order]
        if isinstance(answer, Ended):
            process.code = answer.code
        else:
            process.error = answer.error

    def _lose(self, reason: str) -> None:
        """Let go of a forkserver; the next order starts another one."""
        assert self._server is not None
        self._selector.unregister(self._server.channel)
        self._server.end()
        self._server = None
        for process in self._processes.values():
            if process.pid is None:
                process.error = f"the forkserver is gone: {reason}"
            else:
                self._orphans[process.pid] = process
        self._processes.clear()
        self._unanswered.clear()
        self._on_lost(reason)

    def _reap(self) -> None:
        """Reap forkservers, and as process 1 of a container whatever was left to it: nobody else does."""
        for pid, status in reaped():
            if self._server is not None and pid == self._server.pid:
                self._server.reaped = True
                self._lose("it ended")
            orphan = self._orphans.pop(pid, None)
            if orphan is not None:
                orphan.code = os.waitstatus_to_exitcode(status)
