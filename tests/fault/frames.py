"""Encode and decode version 2 frames for raw clients, independently of the package under test."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.blackbox import wire

__all__ = [
    "ACK",
    "OUT_OF_ORDER",
    "Arrival",
    "Publication",
    "ack",
    "arrival",
    "code_of",
    "frames_of",
    "is_answer",
    "login",
    "publication",
    "publish",
    "string",
]

LOGIN_ANSWER = 0x8001
PUBLISH = 0x0102
DELIVER = 0x0108
ACK = 0x010A

OUT_OF_ORDER = 0x010C

_TO_SEVERAL, _TO_EVERYONE = 0, 1


class Arrival(NamedTuple):
    """A message that a client receives."""

    sender: str
    text: str
    offset: int
    """0 in version 1, which has no offsets."""


class Publication(NamedTuple):
    """A message that a client sends."""

    number: int
    """The publishing id; in version 1, which has none, the correlation id."""
    text: str
    to: tuple[str, ...]
    """The recipients; empty: everyone."""


def login(name: str, version: int, properties: Mapping[str, str] | None = None) -> bytes:
    """Return a Login with correlation id 0; version 1 has no properties."""
    if version == 1:
        return wire.login(name, 0)
    pairs = (properties or {}).items()
    body = wire.string(name) + struct.pack(">I", len(pairs))
    body += b"".join(wire.string(key) + wire.string(value) for key, value in pairs)
    return wire.frame(wire.LOGIN, 0, body, 2)


def publish(number: int, text: str, to: Sequence[str], time: int = 0) -> bytes:
    """Return a Publish; the number is its publishing id and its correlation id."""
    scope = _TO_SEVERAL if to else _TO_EVERYONE
    body = struct.pack(">Q", number) + wire.string(text) + struct.pack(">BI", scope, len(to))
    body += b"".join(map(wire.string, to)) + struct.pack(">Q", time)
    return wire.frame(PUBLISH, number, body, 2)


def ack(offset: int) -> bytes:
    """Return an Ack of everything up to an offset."""
    return wire.frame(ACK, 0, struct.pack(">Q", offset), 2)


def frames_of(buffer: bytearray) -> Iterator[wire.Frame]:
    """Remove the complete frames from the front of a buffer, and iterate over them."""
    while len(buffer) >= 4:
        end = 4 + int.from_bytes(buffer[:4], "big")
        if len(buffer) < end:
            return
        payload = bytes(buffer[4:end])
        del buffer[:end]
        yield wire.parse(payload)


def code_of(frame: wire.Frame) -> int:
    """Return the code of a Response or a LoginAnswer."""
    (code,) = struct.unpack_from(">H", frame.body)
    return int(code)


def is_answer(frame: wire.Frame) -> bool:
    """Return whether a frame is a Response or a LoginAnswer."""
    return frame.key in (wire.RESPONSE, LOGIN_ANSWER)


def arrival(frame: wire.Frame) -> Arrival | None:
    """Return the message in a server's Message or Deliver; None for other frames."""
    if frame.key == wire.MESSAGE:
        return Arrival(frame.message.sender, frame.message.text, 0)
    if frame.key == DELIVER:
        (offset,) = struct.unpack_from(">Q", frame.body)
        text, position = string(frame.body, 8)
        sender, _ = string(frame.body, position)
        return Arrival(sender, text, offset)
    return None


def publication(frame: wire.Frame) -> Publication | None:
    """Return the message in a client's Message or Publish; None for other frames."""
    if frame.key == wire.MESSAGE:
        return Publication(frame.correlation_id, frame.message.text, (frame.message.to,))
    if frame.key == PUBLISH:
        (number,) = struct.unpack_from(">Q", frame.body)
        text, position = string(frame.body, 8)
        scope, count = struct.unpack_from(">BI", frame.body, position)
        position += 5
        to = []
        for _ in range(count):
            name, position = string(frame.body, position)
            to.append(name)
        assert bool(to) == (scope == _TO_SEVERAL), frame
        return Publication(number, text, tuple(to))
    return None


def string(body: bytes, position: int) -> tuple[str, int]:
    """Return the string at a position of a body, and the position after it."""
    (size,) = struct.unpack_from(">H", body, position)
    position += 2
    return body[position : position + size].decode(), position + size
