"""The fast path of version 1 Messages: from bytes to bytes, without decoding each one.

A Message that is passed on differs from the one that came in by its correlationId only, so long
as ``from`` is the sender's own name and ``to`` is written in the recipient's normal form. The
bytes of the two strings together, the *route*, repeat from message to message: whether they are
of that kind is found out once, by the codec, and looked up afterwards. What remains to be
checked is that the frame ends where the route and the time say, and that the text is UTF-8.

Whatever is not plainly of that kind is left to :mod:`chat_protocol.wire.codec`; the two are
tested against each other.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Scan", "scan_messages"]

R = TypeVar("R")

_MESSAGE = struct.Struct(">IBHIH")
_VERSION = 1
_KEY = 0x0002
_DELIVERED = struct.pack(">BHI", _VERSION, _KEY, 0)
_TIME = 8
_FIXED = _MESSAGE.size - 4 + _TIME
"""Bytes of a payload but for its text and its route."""


class Scan(NamedTuple, Generic[R]):
    """Messages that follow each other from one sender to one recipient."""

    end: int
    """Where the first byte stands that was not taken."""
    route: R
    correlation_ids: list[bytes]
    texts: list[bytes]
    frames: list[bytes]
    """As the recipient is to get them, length in front."""


def scan_messages(
    data: bytes, position: int, maximum: int, routes: Mapping[bytes, R]
) -> Scan[R] | None:
    """Take the Messages that stand at ``position`` and have one known route.

    Args:
        data: bytes as they came in.
        position: where a frame begins.
        maximum: bytes of the longest payload; a longer one is not taken.
        routes: the known routes, as wire.deliver.encode_route writes them.

    Returns:
        None if there is not even one that can be taken.
    """
    end = len(data)
    route = None
    correlation_ids: list[bytes] = []
    texts: list[bytes] = []
    frames: list[bytes] = []
    while end - position > _FIXED:
        length, version, key, _, size = _MESSAGE.unpack_from(data, position)
        stop = position + 4 + length
        if key != _KEY or version != _VERSION or stop > end or length > maximum:
            break
        text_start = position + 13
        text_end = text_start + size
        found = routes.get(data[text_end : stop - _TIME])
        if found is None or (route is not None and found is not route):
            break
        text = data[text_start:text_end]
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                break
        route = found
        correlation_ids.append(data[position + 7 : position + 11])
        texts.append(text)
        frames.append(data[position : position + 4] + _DELIVERED + data[position + 11 : stop])
        position = stop
    if route is None:
        return None
    return Scan(position, route, correlation_ids, texts, frames)
