"""Encoding and decoding of protocol bytes, independent of the package's codec."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

LOGIN, MESSAGE, RESPONSE, TEST = 1, 2, 3, 9
PUBLISH, DELIVER, ACK, HISTORY, USERS = 0x0102, 0x0108, 0x010A, 0x010B, 0x010F
PRESENCE, CLOSE, HEARTBEAT = 0x0110, 0x0116, 0x0117
ANSWER = 0x8000
"""The key bit of an answer other than Response."""

OK, ERROR, NOT_FOUND, ALREADY_LOGGED = 1, 2, 3, 4
UNKNOWN_COMMAND, WRONG_PASSWORD, MAILBOX_FULL, UNAVAILABLE = 0x0101, 0x0105, 0x0106, 0x0108
GOING_AWAY, REPLACED, HEARTBEAT_MISSED = 0x0109, 0x010A, 0x010B
OUT_OF_ORDER, MALFORMED = 0x010C, 0x0100
UNASSIGNED = 0x7001
"""A code from the range for private use, unknown to every client."""


class Frame(NamedTuple):
    version: int
    key: int
    correlation_id: int
    body: bytes


def frame(key: int, correlation_id: int, body: bytes = b"", version: int = 1) -> bytes:
    payload = struct.pack(">BHI", version, key, correlation_id) + body
    return struct.pack(">I", len(payload)) + payload


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def response(correlation_id: int, code: int = OK) -> bytes:
    return frame(RESPONSE, correlation_id, struct.pack(">H", code))


def delivery(
    text: str, sender: str = "bob", to: str = "alice", time: int = 0, correlation_id: int = 0
) -> bytes:
    body = string(text) + string(sender) + string(to) + struct.pack(">Q", time)
    return frame(MESSAGE, correlation_id, body)


def strings_of(texts: Iterable[str]) -> bytes:
    """Encode an array of strings."""
    items = [string(text) for text in texts]
    return struct.pack(">I", len(items)) + b"".join(items)


def response_2(correlation_id: int, code: int = OK, detail: str = "") -> bytes:
    return frame(RESPONSE, correlation_id, struct.pack(">H", code) + string(detail), 2)


def login_answer(
    correlation_id: int, code: int = OK, detail: str = "", properties: Mapping[str, str] = {}
) -> bytes:
    body = struct.pack(">H", code) + string(detail) + struct.pack(">I", len(properties))
    body += b"".join(string(key) + string(value) for key, value in properties.items())
    return frame(LOGIN | ANSWER, correlation_id, body, 2)


def deliver(
    offset: int, text: str, sender: str = "bob", scope: int = 0, to: Iterable[str] = ("alice",)
) -> bytes:
    return frame(DELIVER, 0, struct.pack(">Q", offset) + _stored(text, sender, scope, to), 2)


def _stored(text: str, sender: str, scope: int, to: Iterable[str]) -> bytes:
    head = string(text) + string(sender) + bytes([scope])
    return head + strings_of(to) + struct.pack(">Q", 17)


def history_answer(correlation_id: int, *stored: tuple[int, str], code: int = OK) -> bytes:
    body = struct.pack(">H", code) + string("") + struct.pack(">I", len(stored))
    for offset, text in stored:
        body += struct.pack(">Q", offset) + _stored(text, "bob", 0, ["alice"])
    return frame(HISTORY | ANSWER, correlation_id, body, 2)


def users_answer(
    correlation_id: int, *users: tuple[str, int, int], code: int = OK, detail: str = ""
) -> bytes:
    body = struct.pack(">H", code) + string(detail) + struct.pack(">I", len(users))
    for name, online, last_login in users:
        body += string(name) + struct.pack(">BQ", online, last_login)
    return frame(USERS | ANSWER, correlation_id, body, 2)


def presence(name: str, online: int, time: int = 0) -> bytes:
    return frame(PRESENCE, 0, string(name) + struct.pack(">BQ", online, time), 2)


def close(code: int, reason: str = "") -> bytes:
    return frame(CLOSE, 0, struct.pack(">H", code) + string(reason), 2)


class Publish(NamedTuple):
    publishing_id: int
    text: str
    scope: int
    to: list[str]
    time: int


def publish(body: bytes) -> Publish:
    """Decode the body of a Publish."""
    (publishing_id,) = struct.unpack_from(">Q", body)
    (text,) = strings(body[8:], 1)
    rest = body[8 + len(string(text)) :]
    scope, count = struct.unpack_from(">BI", rest)
    to = strings(rest[5:], count)
    (time,) = struct.unpack(">Q", rest[5 + sum(len(string(name)) for name in to) :])
    return Publish(publishing_id, text, scope, to, time)


def properties(body: bytes) -> tuple[str, dict[str, str]]:
    """Decode the name and the properties of a Login."""
    (name,) = strings(body, 1)
    rest = body[len(string(name)) :]
    (count,) = struct.unpack_from(">I", rest)
    found = strings(rest[4:], 2 * count)
    assert len(rest) == 4 + sum(len(string(text)) for text in found)
    return name, dict(zip(found[::2], found[1::2], strict=True))


def offset(body: bytes) -> int:
    """Decode the body of an Ack."""
    (found,) = struct.unpack(">Q", body)
    return int(found)


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """Split ``data`` into whole frames and the rest."""
    frames = []
    while len(data) >= 4:
        (length,) = struct.unpack_from(">I", data)
        if len(data) < 4 + length:
            break
        frames.append(_read(data[4 : 4 + length]))
        data = data[4 + length :]
    return frames, data


def _read(payload: bytes) -> Frame:
    version, key, correlation_id = struct.unpack_from(">BHI", payload)
    return Frame(version, key, correlation_id, payload[7:])


def strings(body: bytes, count: int) -> list[str]:
    """Decode the first strings of a body."""
    found = []
    for _ in range(count):
        (length,) = struct.unpack_from(">H", body)
        found.append(body[2 : 2 + length].decode())
        body = body[2 + length :]
    return found
