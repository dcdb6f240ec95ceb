"""The effects of faults on a connection: hang, close, reset, delay, garbage."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from typing import Any, Callable, Protocol

from sqmon.simulator.faults import Fault

GARBAGE_BYTES = 64


class Victim(Protocol):
    """What a fault acts on: a session."""

    @property
    def transport(self) -> asyncio.Transport:
        """Its connection."""
        ...

    def reply(self, body: dict[str, Any]) -> None:
        """Send one text frame."""
        ...

    def block(self) -> None:
        """Answer nothing from now on."""
        ...

    def resume(self, proceed: Callable[[], None]) -> None:
        """End a block, call `proceed`, and go on."""
        ...


def act(victim: Victim, fault: Fault, proceed: Callable[[], None]) -> None:
    """Act in place of an answer; after `slow` the answer follows."""
    if fault.action == "slow":
        _delay(victim, fault, proceed)
    elif fault.action == "error":
        victim.reply({"error": fault.error})
    elif fault.action == "garbage":
        # The first byte is not a protocol version, so that no client can take it for an answer.
        victim.transport.write(b"\xff" + random.Random(0).randbytes(GARBAGE_BYTES - 1))
        victim.block()
    else:
        _break_off(victim, fault)


def act_midway(victim: Victim, fault: Fault, frame: bytes) -> None:
    """Act in the middle of a binary frame; an error replaces the whole frame, since half of one can't be taken back."""
    if fault.action == "error":
        victim.reply({"error": fault.error})
        return
    first, rest = frame[: len(frame) // 2], frame[len(frame) // 2 :]
    victim.transport.write(first)
    if fault.action == "slow":
        _delay(victim, fault, lambda: victim.transport.write(rest))
    elif fault.action == "garbage":
        victim.transport.write(b"\xff" * len(rest))
    else:
        _break_off(victim, fault)


def _delay(victim: Victim, fault: Fault, proceed: Callable[[], None]) -> None:
    victim.block()
    asyncio.get_running_loop().call_later(fault.seconds or 0.0, victim.resume, proceed)


def _break_off(victim: Victim, fault: Fault) -> None:
    victim.block()
    if fault.action == "close":
        victim.transport.close()
    elif fault.action == "rst":
        # A linger time of zero makes the kernel answer with RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        victim.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        victim.transport.abort()
