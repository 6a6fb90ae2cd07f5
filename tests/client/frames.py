"""The bytes of the protocol, written without the package's codec."""

from __future__ import annotations

import struct
from typing import NamedTuple

LOGIN, MESSAGE, RESPONSE, TEST = 1, 2, 3, 9
OK, ERROR, NOT_FOUND, ALREADY_LOGGED = 1, 2, 3, 4


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


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames at the beginning of ``data``, and what is left."""
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
    """The first strings of a body."""
    found = []
    for _ in range(count):
        (length,) = struct.unpack_from(">H", body)
        found.append(body[2 : 2 + length].decode())
        body = body[2 + length :]
    return found
