"""The messages between the supervisor and the forkserver: orders to fork a process, and the answers."""

from __future__ import annotations

import os
import pickle
import socket
from typing import NamedTuple, Optional, Union

import msgspec

_LONGEST_ORDER = 64
_LONGEST_ANSWER = 1 << 12


class Forked(msgspec.Struct, tag="forked", frozen=True):
    """The process of an order exists."""

    order: int
    pid: int


class NotForked(msgspec.Struct, tag="not_forked", frozen=True):
    """The system gave no process."""

    order: int
    error: str


class Ended(msgspec.Struct, tag="ended", frozen=True):
    """The process of an order is gone."""

    order: int
    code: int
    """Its exit code, or the negative number of the signal that ended it."""


Answer = Union[Forked, NotForked, Ended]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


class Order(NamedTuple):
    """One process to be forked. The receiver of the order owns the descriptors."""

    number: int
    pipe: int
    """The process's end of the socket that it reports over."""
    lifeline: int
    """The end of a pipe whose closing at the other end kills the process."""
    call: int
    """A file in memory that holds the pickled name of a module and the arguments of its `main`."""

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in (self.pipe, self.lifeline, self.call):
            os.close(descriptor)


class OrderIncompleteError(Exception):
    """An order came without all of its descriptors."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def send_order(channel: socket.socket, number: int, *, pipe: int, lifeline: int, module: str, args: tuple[object, ...]) -> None:
    """Order a process. Raises BlockingIOError instead of waiting when there is no room, and OSError when nobody listens any more."""
    # A file, since arguments may be larger than a message; in memory, since a password is among them.
    call = os.memfd_create("sqmon-call", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(call), "wb") as file:
            pickle.dump((module, args), file)
        socket.send_fds(channel, [b"%d" % number], [pipe, lifeline, call])
    finally:
        os.close(call)


def receive_order(channel: socket.socket) -> Optional[Order]:
    """Return the next order, None when the supervisor is gone.

    Raises OrderIncompleteError when this process may not have as many descriptors as the order brings: the kernel drops the others.
    """
    message, descriptors, _, _ = socket.recv_fds(channel, _LONGEST_ORDER, 3)
    if not message:
        return None
    try:
        return Order(int(message), *descriptors)
    except TypeError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise OrderIncompleteError(int(message)) from None


def call_of(order: Order) -> tuple[str, tuple[object, ...]]:
    """Return the module and the arguments of an order."""
    with os.fdopen(os.dup(order.call), "rb") as file:
        file.seek(0)
        module, args = pickle.load(file)  # noqa: S301 - it comes from the supervisor, over a socket that nobody else has
    return module, args


def send_answer(channel: socket.socket, answer: Answer) -> None:
    """Answer; raises OSError when the supervisor is gone."""
    channel.send(_encode(answer))


def receive_answer(channel: socket.socket) -> Optional[Answer]:
    """Return the next answer, None when the forkserver is gone; raises BlockingIOError when there is none yet."""
    try:
        message = channel.recv(_LONGEST_ANSWER)
    except ConnectionResetError:
        return None
    return _decode(message) if message else None
