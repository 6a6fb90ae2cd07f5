"""Frames against the bytes of docs/protocol.md, and against random values."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.errors import Malformed, UnknownCommand
from chat_protocol.wire import codec
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    REGISTRY,
    Ack,
    CorrelationIdTest,
    History,
    Login,
    Login2,
    Message,
    Publish,
    Response,
    Users,
)
from chat_protocol.wire.schema import Needs, Registry, Sender
from chat_protocol.wire.types import String, UInt16

LOGIN = bytes.fromhex("0000000E 01 0001 00000001 0005 7573657231")
LOGIN_OK = bytes.fromhex("00000009 01 0003 00000001 0001")
MESSAGE = bytes.fromhex(
    "00000022 01 0002 00000007 0002 6869 0005 616c696365 0003 626f62 00000000000000FF"
).replace(b"\x00\x00\x00\x22", struct.pack(">I", 7 + 4 + 7 + 5 + 8), 1)

UINT64 = st.integers(0, 2**64 - 1)
STRING = st.text(st.characters(codec="utf-8"), max_size=300)
COMMANDS = st.one_of(
    st.builds(Login, STRING),
    st.builds(Message, STRING, STRING, STRING, UINT64),
    st.builds(Response, st.integers(0, 0xFFFF)),
    st.builds(CorrelationIdTest),
)


@pytest.mark.parametrize(
    ("command", "correlation_id", "frame"),
    [
        (Login("user1"), 1, LOGIN),
        (Response(1), 1, LOGIN_OK),
        (Message("hi", "alice", "bob", 255), 7, MESSAGE),
        (CorrelationIdTest(), 0xFFFFFFFF, bytes.fromhex("00000007 01 0009 FFFFFFFF")),
    ],
)
def test_golden_bytes_in_both_directions(command: Any, correlation_id: int, frame: bytes) -> None:
    assert codec.encode(command, correlation_id) == frame
    header, decoded = codec.decode(frame[4:])
    assert decoded == command
    assert header.correlation_id == correlation_id


@given(COMMANDS, st.integers(0, 2**32 - 1), st.binary(max_size=20))
def test_what_is_encoded_is_decoded_whatever_follows(
    command: Any, correlation_id: int, rest: bytes
) -> None:
    frame = codec.encode(command, correlation_id)
    assert struct.unpack_from(">I", frame) == (len(frame) - 4,)
    header, decoded = codec.decode(frame[4:] + rest)
    assert (header.version, header.correlation_id, decoded) == (
        REGISTRY.of(type(command)).versions[0],
        correlation_id,
        command,
    )


@given(COMMANDS.filter(lambda c: not isinstance(c, CorrelationIdTest)), st.data())
def test_a_truncated_body_is_malformed(command: Any, data: st.DataObject) -> None:
    payload = codec.encode(command, 1)[4:]
    cut = data.draw(st.integers(codec.MIN_FRAME, len(payload) - 1))
    with pytest.raises(Malformed):
        codec.decode(payload[:cut])


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(payload: bytes) -> None:
    with suppress(Malformed, UnknownCommand):
        codec.decode(payload)


@pytest.mark.parametrize("version", [2, 3, 255])
def test_a_version_above_the_highest_is_read_as_the_highest(version: int) -> None:
    payload = bytes([version]) + LOGIN[5:] + bytes(4)
    assert codec.decode(payload)[1] == Login2("user1", {})


def test_version_zero_is_malformed() -> None:
    with pytest.raises(Malformed):
        codec.decode(b"\0" + LOGIN[5:])


@pytest.mark.parametrize("key", [0, 4, 0x0102, 0xFFFF])
def test_an_unknown_key_is_an_unknown_command(key: int) -> None:
    with pytest.raises(UnknownCommand):
        codec.decode(struct.pack(">BHI", 1, key, 9))


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"])
def test_a_string_that_is_not_utf8_is_malformed(bad: bytes) -> None:
    payload = struct.pack(">BHIH", 1, 1, 1, len(bad)) + bad
    with pytest.raises(Malformed, match="username"):
        codec.decode(payload)


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (Login("x" * 65536), "username"),
        (Login("\ud800"), "username"),
        (Message("", "", "", 2**64), "time"),
        (Message("", "", "", -1), "time"),
        (Response(65536), "code"),
    ],
)
def test_a_value_that_does_not_fit_names_its_field(command: Any, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        codec.encode(command, 1)


@pytest.mark.parametrize("correlation_id", [-1, 2**32])
def test_a_correlation_id_that_does_not_fit_is_refused(correlation_id: int) -> None:
    with pytest.raises(ValueError, match="correlationId"):
        codec.encode(Login("a"), correlation_id)


@pytest.mark.parametrize("code", Code)
def test_answers_are_the_frames_that_the_codec_makes(code: Code) -> None:
    ids = [1, 2**32 - 1, 7]
    made = codec.encode_answers(code, [struct.pack(">I", one) for one in ids])
    assert made == b"".join(codec.encode(Response(code.version_1), one) for one in ids)


def test_version_1_is_told_codes_1_to_4_only() -> None:
    assert {code.version_1 for code in Code} == set(list(Code)[:4])
    for code in (Code.NOT_LOGGED_IN, Code.INVALID_USERNAME, Code.AUTHENTICATION_FAILED):
        assert code.version_1 is Code.USER_NOT_FOUND
    assert Code.MAILBOX_FULL.version_1 is Code.ERROR


def test_a_key_can_be_declared_once_in_a_version() -> None:
    registry = Registry()

    @registry.declare(key=5, versions=(1,), sender=Sender.CLIENT)
    @dataclass(frozen=True)
    class First:
        name: String

    with pytest.raises(ValueError, match="First"):

        @registry.declare(key=5, versions=(1,), sender=Sender.CLIENT)
        @dataclass(frozen=True)
        class Second:
            code: UInt16

    assert registry.by_key(1, 5) is registry.of(First)


def test_what_needs_a_login_is_declared() -> None:
    needing = {declared.command for declared in REGISTRY if declared.needs is Needs.LOGIN}
    assert needing == {Message, Publish, Ack, History, Users}
    exclusive = {declared.command for declared in REGISTRY if declared.exclusive}
    assert exclusive == {Login, Login2, History, Users}
