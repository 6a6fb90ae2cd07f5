"""Encode the frames of delivered messages from received bytes; tests compare it with the codec."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from chat_protocol.wire.types import STRING, STRINGS

__all__ = [
    "encode_address",
    "encode_deliver_route",
    "encode_delivered",
    "encode_delivers",
    "encode_route",
    "encode_stored",
    "names_of",
    "recipient_of",
    "split_frames",
    "text_of",
    "time_of",
]

_MESSAGE = struct.Struct(">IBHIH")
_MESSAGE_KEY = 0x0002
_MESSAGE_FIXED = _MESSAGE.size - 4 + 8

_TEXT = _MESSAGE.size
_TEXT_SIZE = slice(_TEXT - 2, _TEXT)
_TIME = slice(-8, None)

_OFFSET = struct.Struct(">Q")
_DELIVER = struct.Struct(">I7sQH")
_DELIVER_KIND = struct.pack(">BHI", 2, 0x0108, 0)


def encode_route(sender: str, recipient: str) -> bytes:
    """Encode ``from`` and ``to`` of a Message."""
    return STRING.encode(sender) + STRING.encode(recipient)


def encode_address(scope: int, to: Sequence[str]) -> bytes:
    """Encode scope and recipients of a Publish, the fields between its text and its time."""
    return bytes((scope,)) + STRINGS.encode(to)


def encode_deliver_route(sender: str, address: bytes) -> bytes:
    """Encode sender, scope and recipients of a Deliver, the fields between its text and its time.

    Args:
        sender: the name of the user who sent it.
        address: see :func:`encode_address`.
    """
    return STRING.encode(sender) + address


def encode_delivered(text: bytes, route: bytes, time: int) -> bytes:
    """Encode the version 1 Message that its recipient gets, with correlationId 0.

    Args:
        text: UTF-8, at most 65,535 bytes.
        route: see :func:`encode_route`.
        time: a uint64.
    """
    size = len(text)
    head = _MESSAGE.pack(_MESSAGE_FIXED + size + len(route), 1, _MESSAGE_KEY, 0, size)
    return b"%b%b%b%b" % (head, text, route, time.to_bytes(8, "big"))


def split_frames(data: bytes, count: int) -> list[bytes]:
    """Return the frames that are one behind the other, each with its length in front.

    Raises:
        ValueError: they are more or fewer than ``count``.
    """
    frames = []
    place = 0
    for _ in range(count):
        end = place + 4 + int.from_bytes(data[place : place + 4], "big")
        frames.append(data[place:end])
        place = end
    if place != len(data):
        raise ValueError(f"{count} frames are longer or shorter than their {len(data)} bytes")
    return frames


def text_of(frame: bytes) -> bytes:
    """Return the text of a version 1 Message frame."""
    return frame[_TEXT : _TEXT + int.from_bytes(frame[_TEXT_SIZE], "big")]


def recipient_of(frame: bytes) -> str:
    """Return ``to`` of a version 1 Message frame."""
    start = _TEXT + int.from_bytes(frame[_TEXT_SIZE], "big")
    start += 2 + int.from_bytes(frame[start : start + 2], "big")
    return STRING.decode(frame, start)[0]


def names_of(frame: bytes) -> tuple[str, str]:
    """Return ``from`` and ``to`` of a version 1 Message frame."""
    start = _TEXT + int.from_bytes(frame[_TEXT_SIZE], "big")
    sender, start = STRING.decode(frame, start)
    return sender, STRING.decode(frame, start)[0]


def time_of(frame: bytes) -> int:
    """Return the time of a version 1 Message frame."""
    return int.from_bytes(frame[_TIME], "big")


def encode_delivers(
    offset: int, texts: Sequence[bytes], route: bytes, frames: Sequence[bytes]
) -> list[bytes]:
    """Encode Delivers of messages with consecutive offsets from one sender to one audience.

    Args:
        offset: of the first message.
        texts: of the messages, each UTF-8 of at most 65,535 bytes; there may be more of them.
        route: see :func:`encode_deliver_route`.
        frames: for each text a frame that ends with the eight bytes of its time.
    """
    fixed = _DELIVER.size - 4 + len(route) + 8
    pack = _DELIVER.pack
    return [
        pack(fixed + len(text), _DELIVER_KIND, number, len(text)) + text + route + frame[_TIME]
        for number, (text, frame) in enumerate(zip(texts, frames, strict=False), offset)
    ]


def encode_stored(offset: int, route: bytes, frames: Sequence[bytes]) -> list[bytes]:
    """Encode the items of a HistoryAnswer: messages with consecutive offsets to one audience.

    Args:
        offset: of the first message.
        route: see :func:`encode_deliver_route`.
        frames: the messages as version 1 frames.
    """
    pack, from_bytes = _OFFSET.pack, int.from_bytes
    return [
        pack(number)
        + frame[_TEXT - 2 : _TEXT + from_bytes(frame[_TEXT_SIZE], "big")]
        + route
        + frame[_TIME]
        for number, frame in enumerate(frames, offset)
    ]
