"""Guarded sockets: one deadline for everything, pings while waiting, and an end that is final."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import select
import socket
import threading
import time
from typing import Iterator

import pytest

from sqmon.database import deadline_socket
from sqmon.database.deadline_socket import Guard, GuardedSocket, ReaderPings
from sqmon.errors import QueryTimeoutError

SHORT = 0.2
PLENTY = 30.0
TOLERANCE = 3.0


@pytest.fixture
def watched() -> Guard:
    """A guard whose step has plenty of time."""
    made = Guard()
    made.start(PLENTY)
    return made


@pytest.fixture
def ours(watched: Guard, peer: tuple[socket.socket, socket.socket]) -> GuardedSocket:
    """The guarded end of a connection."""
    return watched.watch(peer[0])


@pytest.fixture
def theirs(peer: tuple[socket.socket, socket.socket]) -> socket.socket:
    """The other end of the connection."""
    return peer[1]


@pytest.fixture
def peer() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    pair = socket.socketpair()
    yield pair
    for end in pair:
        end.close()


def test_bytes_pass_both_ways(ours: GuardedSocket, theirs: socket.socket) -> None:
    """Bytes pass a guarded socket in both directions."""
    theirs.sendall(b"answer")

    assert ours.receive(6) == b"answer"
    assert ours.send(b"question") == 8
    assert theirs.recv(100) == b"question"


def test_bytes_come_in_order_however_they_are_asked_for(ours: GuardedSocket, theirs: socket.socket) -> None:
    """Bytes that were read ahead and bytes that are read into a large buffer follow each other without a gap."""
    rng = random.Random(1)
    sent = rng.randbytes(3 << 20)
    thread = threading.Thread(target=theirs.sendall, args=(sent,))
    thread.start()
    received = bytearray()
    while len(received) < len(sent):
        received += ours.receive(min(rng.choice([0, 1, 10, 3000, 70_000, 500_000]), len(sent) - len(received)))
    thread.join()

    assert received == sent


def test_small_reads_cost_one_receive(ours: GuardedSocket, theirs: socket.socket) -> None:
    """A header and the answer behind it are taken from the system at once."""
    theirs.sendall(b"header" + b"answer")
    first = ours.receive(6)

    assert not select.select([ours._raw], [], [], 0)[0]
    assert (first, ours.receive(6)) == (b"header", b"answer")


def test_silence_ends_at_the_deadline(watched: Guard, ours: GuardedSocket) -> None:
    """Silence ends at the deadline with an error that pysqream knows, and the failure says how long the wait was."""
    watched.start(SHORT)
    began = time.monotonic()
    with pytest.raises(socket.timeout):
        ours.receive(1)

    assert SHORT <= time.monotonic() - began < SHORT + TOLERANCE
    assert isinstance(watched.failure, QueryTimeoutError)
    assert str(watched.failure) == "no answer within 0.2 s"


def test_deadline_is_kept_where_the_system_waits_by_itself(watched: Guard, ours: GuardedSocket) -> None:
    """The prompt wait, which does not look at the deadline, puts it off by nothing."""
    seconds = 1.5 * deadline_socket._PROMPT_SECONDS
    watched.start(seconds)
    began = time.monotonic()
    with pytest.raises(socket.timeout):
        ours.receive(1)

    assert seconds <= time.monotonic() - began < seconds + TOLERANCE


@pytest.mark.parametrize("size", [6, 1 << 20])
def test_answer_that_is_not_prompt_comes_all_the_same(ours: GuardedSocket, theirs: socket.socket, size: int) -> None:
    """An answer that takes longer than the prompt wait is received, and so is one that pauses in between."""
    rng = random.Random(2)
    sent = rng.randbytes(size)
    over = threading.Event()

    def answer() -> None:
        for piece in (sent[: size // 2], sent[size // 2 :]):
            over.wait(1.5 * deadline_socket._PROMPT_SECONDS)
            theirs.sendall(piece)

    thread = threading.Thread(target=answer)
    thread.start()

    assert ours.receive(size) == sent
    thread.join()


@pytest.mark.parametrize("size", [6, 1 << 20])
def test_end_of_the_connection_ends_the_wait(ours: GuardedSocket, theirs: socket.socket, size: int) -> None:
    """A server that closes the connection in the middle of an answer is noticed at once."""
    theirs.sendall(b"half")
    theirs.shutdown(socket.SHUT_WR)

    with pytest.raises(ConnectionError, match="0 returned by socket"):
        ours.receive(size)


def test_impossible_sizes_are_refused(ours: GuardedSocket, theirs: socket.socket) -> None:
    """A size below zero, which only a server without sense can name, is an error whatever has been read ahead."""
    theirs.sendall(b"header" + b"answer")
    ours.receive(6)

    with pytest.raises(ValueError, match="-1 bytes"):
        ours.receive(-1)


def test_bytes_that_drip_do_not_put_the_deadline_off(watched: Guard, ours: GuardedSocket, theirs: socket.socket) -> None:
    """The deadline is for the whole step, even if single bytes keep arriving."""
    over = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not over.wait(0.02):
                theirs.sendall(b".")

    thread = threading.Thread(target=drip)
    thread.start()
    watched.start(SHORT)
    began = time.monotonic()
    with pytest.raises(socket.timeout):
        all(ours.receive(1) for _ in itertools.count())
    over.set()
    thread.join()

    assert time.monotonic() - began < SHORT + TOLERANCE


def test_reader_that_nobody_reads_is_given_up(watched: Guard, ours: GuardedSocket) -> None:
    """A send that nobody reads ends at the deadline."""
    watched.start(SHORT)
    with pytest.raises(socket.timeout):
        ours.send(bytes(64 << 20))

    assert isinstance(watched.failure, QueryTimeoutError)


def test_send_takes_everything(ours: GuardedSocket, theirs: socket.socket) -> None:
    """A send takes all bytes, since pysqream doesn't look how many were taken."""
    received = bytearray()

    def read() -> None:
        while len(received) < 4 << 20:
            received.extend(theirs.recv(1 << 16))

    thread = threading.Thread(target=read)
    thread.start()

    assert ours.send(bytes(4 << 20)) == 4 << 20
    thread.join()


def test_send_goes_on_after_a_pause_of_the_reader(ours: GuardedSocket, theirs: socket.socket) -> None:
    """A reader that pauses longer than the prompt wait gets every byte once."""
    rng = random.Random(3)
    sent, received = rng.randbytes(4 << 20), bytearray()

    def read() -> None:
        threading.Event().wait(1.5 * deadline_socket._PROMPT_SECONDS)
        while len(received) < len(sent):
            received.extend(theirs.recv(1 << 16))

    thread = threading.Thread(target=read)
    thread.start()

    assert ours.send(sent) == len(sent)
    thread.join()
    assert received == sent


def test_waiting_reader_sends_pings(monkeypatch: pytest.MonkeyPatch, watched: Guard, ours: GuardedSocket, theirs: socket.socket) -> None:
    """While an answer is awaited, a whole ping frame is sent at every interval, and none before pings were asked for."""
    monkeypatch.setattr(deadline_socket, "PING_SECONDS", 0.05)
    pings = ReaderPings(watched)
    frames: list[bytes] = []

    def answer_after_three() -> None:
        while len(frames) < 3:
            head = theirs.recv(10, socket.MSG_WAITALL)
            frames.append(head[:2] + theirs.recv(int.from_bytes(head[2:], "little"), socket.MSG_WAITALL))
        theirs.sendall(b"answer")

    pings.start()
    thread = threading.Thread(target=answer_after_three)
    thread.start()

    assert ours.receive(6) == b"answer"
    thread.join()
    assert {frame[:2] for frame in frames} == {b"\x08\x01"}
    assert [json.loads(frame[2:]) for frame in frames] == [{"ping": "ping"}] * 3


def test_no_pings_unless_the_server_knows_them(
    monkeypatch: pytest.MonkeyPatch, watched: Guard, ours: GuardedSocket, theirs: socket.socket
) -> None:
    """An old server, which would take a ping for a request, gets none."""
    monkeypatch.setattr(deadline_socket, "PING_SECONDS", 0.01)
    watched.start(SHORT)
    with pytest.raises(socket.timeout):
        ours.receive(1)
    theirs.setblocking(False)

    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_pings_stand_in_for_a_thread(watched: Guard) -> None:
    """pysqream can start, halt and join the pings as if they were a thread."""
    pings = ReaderPings(watched)
    assert not watched.pings
    pings.start()
    pings.halt()
    pings.join()

    assert watched.pings


def test_ping_that_can_not_be_sent_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, watched: Guard, ours: GuardedSocket, theirs: socket.socket
) -> None:
    """A ping that can't be sent ends the wait for the answer."""
    monkeypatch.setattr(deadline_socket, "PING_SECONDS", 0.05)
    watched.pings = True
    theirs.shutdown(socket.SHUT_RD)
    with pytest.raises(OSError, match="Broken pipe"):
        ours.receive(1)


def test_failed_connection_is_dead(watched: Guard, ours: GuardedSocket, theirs: socket.socket) -> None:
    """After a failure nothing is sent or read, and the first failure is the one that counts."""
    first = QueryTimeoutError("first")
    watched.fail(first)
    watched.fail(ValueError("second"))
    theirs.sendall(b"late")

    with pytest.raises(ConnectionAbortedError):
        ours.receive(1)
    with pytest.raises(ConnectionAbortedError):
        ours.send(b"closeStatement")
    assert watched.failure is first


def test_failed_connection_forgets_what_was_read_ahead(watched: Guard, ours: GuardedSocket, theirs: socket.socket) -> None:
    """After a failure, bytes that were read ahead are not handed out."""
    theirs.sendall(b"header" + b"answer")
    ours.receive(6)
    watched.fail(QueryTimeoutError("late"))

    with pytest.raises(ConnectionAbortedError):
        ours.receive(6)


def test_shut_ends_every_socket(watched: Guard) -> None:
    """Shutting the guard ends every socket, even one that is not connected yet."""
    pairs = [socket.socketpair() for _ in range(3)]
    guarded = [watched.watch(ours) for ours, _ in pairs]
    early = socket.socket()
    watched.connecting(early)
    watched.shut()

    assert all(one.closed for one in guarded)
    assert early.fileno() == -1
    assert [theirs.recv(1) for _, theirs in pairs] == [b""] * 3
    for _, theirs in pairs:
        theirs.close()


def test_closed_sockets_are_forgotten(watched: Guard) -> None:
    """Closed sockets are not kept, so that moving between workers doesn't fill the memory."""
    for _ in range(100):
        ours, theirs = socket.socketpair()
        watched.watch(ours).close()
        theirs.close()

    assert len(watched._sockets) == 1


def test_limit_of_a_single_wait_is_no_failure(watched: Guard, ours: GuardedSocket) -> None:
    """A time limit of pysqream's own, for a single wait, doesn't end the step."""
    ours.settimeout(0.05)
    assert ours.gettimeout() == 0.05
    with pytest.raises(socket.timeout):
        ours.receive(1)

    assert watched.failure is None
