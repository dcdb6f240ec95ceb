"""The forkserver: a process without threads that has imported what its children need, and forks them on order."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import os
import select
import signal
import socket
import traceback
from typing import Any

import sqmon.worker.preload  # noqa: F401
from sqmon.errors import reason_of
from sqmon.ipc.fork_orders import Ended, Forked, NotForked, Order, OrderIncompleteError, call_of, receive_order, send_answer
from sqmon.ipc.reaping import reaped


def main(channel: int) -> None:
    """Fork a process for each order that comes over `channel`, tell how each ends, and end with the supervisor."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(BrokenPipeError, ConnectionResetError))
        supervisor = stack.enter_context(socket.socket(fileno=channel))
        stack.enter_context(contextlib.closing(_Forkserver(supervisor))).run()


class _Forkserver:
    def __init__(self, supervisor: socket.socket) -> None:
        self._supervisor = supervisor
        self._orders: dict[int, int] = {}
        """The numbers of the orders by process id."""
        # Signals to the whole group are not for the forkserver: it ends with the supervisor, and until then tells how the others end.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._child_ended, self._wakeup = socket.socketpair()
        for end in (self._child_ended, self._wakeup):
            end.setblocking(False)
        # A handler has to be there for the signal to be written to the descriptor.
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until the supervisor has closed its end of the channel."""
        while True:
            readable, _, _ = select.select([self._supervisor, self._child_ended], [], [])
            if self._child_ended in readable:
                self._child_ended.recv(1 << 16)
                self._reap()
            if self._supervisor in readable:
                try:
                    order = receive_order(self._supervisor)
                except OrderIncompleteError as error:
                    send_answer(self._supervisor, NotForked(error.number, os.strerror(errno.EMFILE)))
                    continue
                if order is None:
                    return
                self._fork(order)
                order.close()

    def close(self) -> None:
        """Leave signals alone from now on."""
        signal.set_wakeup_fd(-1)
        self._child_ended.close()
        self._wakeup.close()

    def _reap(self) -> None:
        for pid, status in reaped():
            number = self._orders.pop(pid, None)
            if number is not None:
                send_answer(self._supervisor, Ended(number, os.waitstatus_to_exitcode(status)))

    def _fork(self, order: Order) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            send_answer(self._supervisor, NotForked(order.number, reason_of(error)))
            return
        if not pid:
            self._become(order)
        self._orders[pid] = order.number
        send_answer(self._supervisor, Forked(order.number, pid))

    def _become(self, order: Order) -> None:
        """Be the process of the order, which never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._supervisor, self._child_ended, self._wakeup):
                end.close()
            _end_with(order.lifeline)
            module, args = call_of(order)
            with socket.socket(fileno=order.pipe) as pipe:
                importlib.import_module(module).main(*args, pipe)
            code = 0
        except BaseException:  # noqa: BLE001 - a process of its own must not go on as the forkserver
            traceback.print_exc()
        finally:
            os._exit(code)


def _end_with(lifeline: int) -> None:
    """Have the kernel kill this process when the supervisor closes the other end of `lifeline` or is gone.

    That needs neither a thread (half a megabyte in each worker) nor the interpreter's attention, and works when the process is blocked or
    stopped.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        os._exit(1)


def _do_nothing(*_: Any) -> None:
    pass
