"""Frames of messages that go out, made from the bytes that came in; tested against the codec."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from chat_protocol.wire.types import STRING, STRINGS

__all__ = [
    "encode_address",
    "encode_deliver",
    "encode_delivered",
    "encode_delivers",
    "encode_route",
    "encode_strings",
    "names_of",
    "text_of",
    "time_of",
]

_MESSAGE = struct.Struct(">IBHIH")
_MESSAGE_KEY = 0x0002
_MESSAGE_FIXED = _MESSAGE.size - 4 + 8

_TEXT = _MESSAGE.size
_TEXT_SIZE = slice(_TEXT - 2, _TEXT)
_TIME = slice(-8, None)

_DELIVER = struct.Struct(">I7sQH")
_DELIVER_KIND = struct.pack(">BHI", 2, 0x0108, 0)
_DELIVER_FIXED = _DELIVER.size - 4 + 1 + 8


def encode_route(sender: str, recipient: str) -> bytes:
    """The two strings behind the text of a Message: from ``sender`` to ``recipient``."""
    return STRING.encode(sender) + STRING.encode(recipient)


def encode_address(recipient: str) -> bytes:
    """What stands behind the text of a Publish to one user: the scope, and who it is."""
    return b"\0" + STRINGS.encode((recipient,))


def encode_strings(values: Sequence[str]) -> bytes:
    """A ``[]string``, as the recipients of a Deliver are written."""
    return STRINGS.encode(values)


def encode_delivered(text: bytes, route: bytes, time: int) -> bytes:
    """A version 1 Message as its recipient gets it, with correlationId 0.

    Args:
        text: UTF-8, at most 65,535 bytes.
        route: see :func:`encode_route`.
        time: a uint64.
    """
    size = len(text)
    head = _MESSAGE.pack(_MESSAGE_FIXED + size + len(route), 1, _MESSAGE_KEY, 0, size)
    return b"%b%b%b%b" % (head, text, route, time.to_bytes(8, "big"))


def text_of(frame: bytes) -> bytes:
    """The text of a version 1 Message, length in front."""
    return frame[_TEXT : _TEXT + int.from_bytes(frame[_TEXT_SIZE], "big")]


def names_of(frame: bytes) -> tuple[str, str]:
    """Who sent a version 1 Message, and who it is for."""
    start = _TEXT + int.from_bytes(frame[_TEXT_SIZE], "big")
    sender, start = STRING.decode(frame, start)
    recipient, _ = STRING.decode(frame, start)
    return sender, recipient


def time_of(frame: bytes) -> int:
    """The time of a version 1 Message."""
    return int.from_bytes(frame[_TIME], "big")


def encode_deliver(
    offset: int, text: bytes, sender: str, scope: int, to: bytes, time: bytes
) -> bytes:
    """A Deliver, with correlationId 0.

    Args:
        offset: a uint64.
        text: UTF-8, at most 65,535 bytes.
        sender: its name.
        scope: see wire.commands.Scope.
        to: see :func:`encode_strings`.
        time: a uint64, in its eight bytes.
    """
    name = STRING.encode(sender)
    size = len(text)
    length = _DELIVER_FIXED + size + len(name) + len(to)
    head = _DELIVER.pack(length, _DELIVER_KIND, offset, size)
    return b"%b%b%b%c%b%b" % (head, text, name, scope, to, time)


def encode_delivers(
    offset: int, texts: Sequence[bytes], sender: str, recipient: str, frames: Sequence[bytes]
) -> list[bytes]:
    """Delivers of messages from one user to another, one by one as encode_deliver makes them.

    Args:
        offset: of the first.
        texts: of the messages, each UTF-8 of at most 65,535 bytes.
        sender: the name of theirs.
        recipient: the one user that they are for.
        frames: of each text one that ends with the eight bytes of its time.
    """
    middle = STRING.encode(sender) + encode_address(recipient)
    fixed = _DELIVER.size - 4 + len(middle) + 8
    pack = _DELIVER.pack
    return [
        pack(fixed + len(text), _DELIVER_KIND, number, len(text)) + text + middle + frame[_TIME]
        for number, (text, frame) in enumerate(zip(texts, frames, strict=True), offset)
    ]
