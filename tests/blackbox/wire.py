"""The tests' own codec: struct and the published tables, nothing of the package under test."""

from __future__ import annotations

import struct
from typing import NamedTuple

LOGIN = 0x0001
MESSAGE = 0x0002
RESPONSE = 0x0003
CORRELATION_ID_TEST = 0x0009
UNKNOWN = 0x7ABC
"""A key that no version has."""

OK = 1
ERROR = 2
USER_NOT_FOUND = 3
ALREADY_LOGGED = 4

MAX_BEFORE_LOGIN = 66 * 1024
MAX = 256 * 1024
MIN = 7

_HEAD = struct.Struct(">BHI")


class Frame(NamedTuple):
    """One payload, its header taken apart."""

    version: int
    key: int
    correlation_id: int
    body: bytes
    """What stands behind the correlationId."""

    @property
    def code(self) -> int:
        """Of a Response."""
        assert self.key == RESPONSE, self
        (code,) = struct.unpack(">H", self.body)
        return int(code)

    @property
    def message(self) -> Text:
        """Of a Message."""
        assert self.key == MESSAGE, self
        strings = []
        position = 0
        for _ in range(3):
            (size,) = struct.unpack_from(">H", self.body, position)
            position += 2
            strings.append(self.body[position : position + size].decode())
            position += size
        (time,) = struct.unpack(">Q", self.body[position:])
        return Text(strings[0], strings[1], strings[2], time)


class Text(NamedTuple):
    """What a Message carries."""

    text: str
    sender: str
    to: str
    time: int


def sized(payload: bytes) -> bytes:
    """A payload with its length in front."""
    return struct.pack(">I", len(payload)) + payload


def frame(key: int, correlation_id: int, body: bytes = b"", version: int = 1) -> bytes:
    return sized(_HEAD.pack(version, key, correlation_id) + body)


def string(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def login(name: str | bytes, correlation_id: int = 1, version: int = 1) -> bytes:
    return frame(LOGIN, correlation_id, string(name), version)


def message(
    text: str | bytes,
    sender: str | bytes,
    to: str | bytes,
    time: int = 0,
    correlation_id: int = 1,
    version: int = 1,
) -> bytes:
    body = string(text) + string(sender) + string(to) + struct.pack(">Q", time)
    return frame(MESSAGE, correlation_id, body, version)


def correlation_test(correlation_id: int) -> bytes:
    return frame(CORRELATION_ID_TEST, correlation_id)


def unknown(correlation_id: int) -> bytes:
    """A command that is answered at once, with code 2, and changes nothing."""
    return frame(UNKNOWN, correlation_id)


def answer(code: int, correlation_id: int) -> bytes:
    return frame(RESPONSE, correlation_id, struct.pack(">H", code))


def parse(payload: bytes) -> Frame:
    version, key, correlation_id = _HEAD.unpack_from(payload)
    return Frame(version, key, correlation_id, payload[_HEAD.size :])
