"""Frames and column buffers, byte for byte."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from sqmon.simulator import Column, Simulator
from sqmon.simulator.columns import encode_column
from sqmon.simulator.protocol import Frames, ProtocolError, frame
from tests.simulator.wire import LOGIN, Wire

SESSIONS = [
    Column("connection_id", "int", nullable=False),
    Column("service", "varchar(8)", nullable=False),
    Column("statement", "text"),
    Column("started", "datetime"),
]
ROWS = [(101, "sqream", "sélect 1", datetime(2025, 7, 14, 9, 30, 15, 123_000)), (102, "etl", None, None)]  # noqa: DTZ001
PAYLOAD = bytes.fromhex(
    "65000000 6600000073717265616d2020 65746c20202020200001 09000000 00000000 73c3a96c65637420310001 d3140a02a7490b00 0000000000000000"
)


def encoded(type_: str, *values: Any, nullable: bool = False) -> str:
    """Return the parts of a column with these values, in hexadecimal, separated by blanks."""
    return " ".join(part.hex() for part in encode_column(Column("c", type_, nullable), values))


def test_a_conversation_as_it_was_captured() -> None:
    """Login, statement, types, fetch and close are answered with the captured bytes, apart from numbers that differ in each run."""
    with Simulator() as simulator, Wire(simulator.port) as wire:
        simulator.set_result("show_server_status", SESSIONS, ROWS)

        def answers(body: str, expected: str) -> None:
            wire.send(body)
            assert frame(8, 1, expected.encode()) == wire.exactly(10 + len(expected.encode()))

        wire.send(LOGIN)
        number = json.loads(wire.frame()[2])["connectionId"]
        with Wire(simulator.port) as second:
            second.send('{"username":"sqream", "password":"sqream", "connectDatabase":"master", "service":"sqream"}')
            login = (
                f'{{"connectionId":{number + 1},"databaseConnected":"databaseConnected","varcharEncoding":"ascii","version":"v2023.1.0"}}'
            )
            assert frame(8, 1, login.encode()) == second.exactly(10 + len(login))
        assert b"\x08\x01\x6d" + bytes(7) == frame(8, 1, login.encode())[:10]
        statement = wire.ask('{"getStatementId" : "getStatementId"}')["statementId"]
        answers('{"getStatementId" : "getStatementId"}', f'{{"statementId":{statement + 1}}}')
        answers(
            '{"prepareStatement": "select show_server_status()", "chunkSize": 0, "canSupportParams": true, "canSupportClusterFiles": true}',
            f'{{"ip":"127.0.0.1","listener_id":7,"port":{simulator.port},"port_ssl":{simulator.port},"reconnect":false,"statementPrepared":true}}',
        )
        answers('{"execute" : "execute"}', '{"executed":"executed"}')
        answers('{"queryTypeIn": "queryTypeIn"}', '{"queryType":[]}')
        answers(
            '{"queryTypeOut" : "queryTypeOut"}',
            '{"queryTypeNamed":[{"isTrueVarChar":false,"name":"connection_id","nullable":false,"type":["ftInt",4,0]},'
            '{"isTrueVarChar":false,"name":"service","nullable":false,"type":["ftVarchar",8,0]},'
            '{"isTrueVarChar":true,"name":"statement","nullable":true,"type":["ftBlob",0,0]},'
            '{"isTrueVarChar":false,"name":"started","nullable":true,"type":["ftDateTime",8,0]}]}',
        )
        answers('{"fetch" : "fetch"}', '{"colSzs":[8,16,2,8,9,2,16],"rows":2}')
        assert bytes.fromhex("08023d00000000000000") + PAYLOAD == wire.exactly(71)
        answers('{"fetch" : "fetch"}', '{"colSzs":[],"rows":0}')
        answers('{"closeStatement": "closeStatement"}', '{"statementClosed":"statementClosed"}')
        answers('{"closeConnection": "closeConnection"}', '{"connectionClosed":"connectionClosed"}')
        assert wire.socket.recv(1) == b""


@pytest.mark.parametrize(
    ("type_", "values", "expected"),
    [
        ("bool", (True, False), "0100"),
        ("tinyint", (0, 255), "00ff"),
        ("smallint", (-2,), "feff"),
        ("int", (-2,), "feffffff"),
        ("bigint", (-(2**63),), "0000000000000080"),
        ("real", (1.5,), "0000c03f"),
        ("double", (1.5,), "000000000000f83f"),
        ("date", (date(1970, 1, 1),), "6cfa0a00"),
        ("date", (date(1900, 1, 1),), "8d960a00"),
        ("date", (date(2024, 2, 29),), "b2470b00"),
        ("datetime", (datetime(2025, 7, 14, 9, 30, 15, 123_999),), "d3140a02a7490b00"),  # noqa: DTZ001
        ("numeric(38,4)", (Decimal("12.5"),), "48e80100" + "00" * 12),
        ("numeric(38,4)", (Decimal("-0.0001"),), "ff" * 16),
        ("varchar(4)", ("ab", ""), "6162202020202020"),
        ("text", ("é", ""), "0200000000000000 c3a9"),
        ("int[]", ([1, None, 3],), "14000000 00010000000000000100000000000000" + "03000000"),
        ("int[]", ([],), "00000000 "),
        (
            "text[]",
            (["ABC", "ABCDEF", None],),
            "30000000 0300000000000000 0000010000000000 030000000e00000010000000 00000000 4142430000000000 4142434445460000",
        ),
    ],
)
def test_a_value_is_encoded_as_clients_decode_it(type_: str, values: tuple[Any, ...], expected: str) -> None:
    """Every type is encoded as captured conversations and the sources of clients show."""
    assert expected.replace(" ", "") == encoded(type_, *values).replace(" ", "")


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("int", "01 00000000"),
        ("date", "01 00000000"),
        ("datetime", "01 0000000000000000"),
        ("datetime2", "01 " + "00" * 16),
        ("numeric(9,2)", "01 " + "00" * 16),
        ("varchar(3)", "01 202020"),
        ("text", "01 00000000 "),
        ("int[]", "01 00000000 "),
    ],
)
def test_null_is_a_flag_and_takes_no_room_in_text(type_: str, expected: str) -> None:
    """NULL keeps the width of a fixed type, and has the length 0 in text and arrays."""
    assert expected == encoded(type_, None, nullable=True)


def test_a_moment_with_zone_is_sent_in_utc_with_its_offset() -> None:
    """A moment with a zone is sent as offset seconds, nanoseconds of the millisecond, millisecond of the day, and day."""
    moment = datetime(2025, 7, 14, 1, 30, 15, 123_456, tzinfo=timezone(timedelta(hours=2)))
    numbers = (7200, 456_000, ((23 * 60 + 30) * 60 + 15) * 1000 + 123, 739_750)

    assert "".join(number.to_bytes(4, "little").hex() for number in numbers) == encoded("datetime2", moment)


@pytest.mark.parametrize(
    ("column", "value"),
    [(Column("c", "int", nullable=False), None), (Column("c", "varchar(2)"), "abc"), (Column("c", "tinyint"), 256)],
)
def test_a_value_that_does_not_fit_is_refused(column: Column, value: Any) -> None:
    """A value that doesn't fit its type is refused."""
    with pytest.raises((ValueError, OverflowError)):
        encode_column(column, [value])


def test_an_unknown_type_is_named() -> None:
    """An unknown type is refused with the list of the known ones."""
    with pytest.raises(ValueError, match=r"unknown column type 'blob'.*varchar\(n\)"):
        Column("c", "blob")


def test_messages_are_found_however_the_bytes_are_split() -> None:
    """The same messages are found whether the bytes come one by one or all at once."""
    data = frame(8, 1, b'{"a":1}') + frame(6, 1, b'{"b":2}')
    frames, together = Frames(), Frames()

    single = [message for byte in data for message in frames.feed(bytes([byte]))]

    assert [(8, {"a": 1}), (6, {"b": 2})] == single == list(together.feed(data))


@pytest.mark.parametrize(
    "data",
    [b"\x16", b"\x09\x01", frame(8, 2, b"{}"), b"\x08\x01" + (2**20 + 1).to_bytes(8, "little"), frame(8, 1, b"[]"), frame(8, 1, b"{")],
)
def test_bytes_of_another_protocol_are_refused(data: bytes) -> None:
    """TLS, other versions, and binary, huge or meaningless payloads end the connection."""
    with pytest.raises(ProtocolError):
        list(Frames().feed(data))


@pytest.mark.parametrize("version", [6, 7, 8])
def test_the_version_byte_is_echoed(simulator: Simulator, version: int) -> None:
    """Each of the three versions of the protocol is answered with its own version byte."""
    with Wire(simulator.port, version) as wire:
        wire.send(LOGIN)

        assert version == wire.frame()[0]


def test_a_tls_hello_on_the_plain_port_is_closed_at_once(simulator: Simulator) -> None:
    """A TLS client on the plain port is cut off at its first byte, since it sends no more until it is answered."""
    with Wire(simulator.port) as wire:
        wire.socket.sendall(b"\x16")

        assert wire.socket.recv(1) == b""
