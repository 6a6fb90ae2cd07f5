"""The fast path of messages: from bytes to bytes, without decoding each one.

A Message that is passed on differs from the one that came in by its correlationId only, so long
as ``from`` is the sender's own name and ``to`` is written in the recipient's normal form. The
bytes of the two strings together, the *route*, repeat from message to message: whether they are
of that kind is found out once, by the codec, and looked up afterwards. What remains to be
checked is that the frame ends where the route and the time say, and that the text is UTF-8. A
Publish to one user differs in its head and in how the route is written; it becomes the Message
that it says the same as. Acks that follow each other say what the last of them says.

Whatever is not plainly of that kind is left to :mod:`chat_protocol.wire.codec`; the two are
tested against each other.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

__all__ = ["ACK_SIZE", "Scan", "scan_acks", "scan_messages", "scan_publishes"]

R = TypeVar("R")

_MESSAGE = struct.Struct(">I3s4sH")
"""Length, version and key, correlationId, and the size of the text."""
_MESSAGE_KIND = struct.pack(">BH", 1, 0x0002)
_DELIVERED = _MESSAGE_KIND + bytes(4)
_DELIVERED_HEAD = struct.Struct(">I7sH")
_PUBLISH = struct.Struct(">I3s4sQH")
"""The same, with the publishing id in front of the size."""
_PUBLISH_KIND = struct.pack(">BH", 2, 0x0102)
_ACK = struct.Struct(">11xQ")
"""Its offset."""
ACK_SIZE = _ACK.size
_ACK_HEAD = struct.pack(">IBH", ACK_SIZE - 4, 2, 0x010A)
_ACKS = re.compile(b"(?:" + re.escape(_ACK_HEAD) + b".{12})+", re.DOTALL)
_TIME = 8
_FIXED = _MESSAGE.size - 4 + _TIME
"""Bytes of a payload but for its text and its route."""
_FIXED_PUBLISH = _PUBLISH.size - 4 + _TIME


class Scan(NamedTuple, Generic[R]):
    """Messages that follow each other from one sender to one recipient."""

    end: int
    """Where the first byte stands that was not taken."""
    route: R
    correlation_ids: list[bytes]
    texts: list[bytes]
    frames: list[bytes]
    """As a recipient of version 1 is to get them, length in front."""
    publishing_id: int = 0
    """Of the first; the others follow one by one. 0: none has one."""


def scan_messages(
    data: bytes, position: int, maximum: int, routes: Mapping[bytes, R], most: int | None = None
) -> Scan[R] | None:
    """Take the Messages that stand at ``position`` and have one known route.

    Args:
        data: bytes as they came in.
        position: where a frame begins.
        maximum: bytes of the longest payload; a longer one is not taken.
        routes: the known routes, as wire.deliver.encode_route writes them.
        most: bytes that are taken at most; None: all there are.

    Returns:
        None if there is not even one that can be taken.
    """
    end = len(data) if most is None else min(len(data), position + most)
    unpack = _MESSAGE.unpack_from
    route = None
    route_bytes = b""
    correlation_ids: list[bytes] = []
    texts: list[bytes] = []
    frames: list[bytes] = []
    while end - position > _FIXED:
        length, kind, correlation_id, size = unpack(data, position)
        stop = position + 4 + length
        if kind != _MESSAGE_KIND or stop > end or length > maximum:
            break
        text_start = position + _MESSAGE.size
        text_end = text_start + size
        found = data[text_end : stop - _TIME]
        if route is None:
            route = routes.get(found)
            if route is None:
                return None
            route_bytes = found
        elif found != route_bytes:
            break
        text = data[text_start:text_end]
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                break
        correlation_ids.append(correlation_id)
        texts.append(text)
        frames.append(data[position : position + 4] + _DELIVERED + data[text_start - 2 : stop])
        position = stop
    if route is None or not texts:
        return None
    return Scan(position, route, correlation_ids, texts, frames)


def scan_publishes(
    data: bytes,
    position: int,
    published: int,
    sender: bytes,
    routes: Mapping[bytes, R],
    most: int | None = None,
) -> Scan[R] | None:
    """Take the Publishes that stand at ``position``, go to one known user and are new.

    Args:
        data: bytes as they came in.
        position: where a frame begins.
        published: the highest publishing id that may be known; only higher ones are taken, one
            behind the other, or those that have none.
        sender: the name, as a string of the protocol.
        routes: the known users, as wire.deliver.encode_address writes them.
        most: bytes that are taken at most; None: all there are.

    Returns:
        None if there is not even one that can be taken.
    """
    end = len(data) if most is None else min(len(data), position + most)
    unpack, pack = _PUBLISH.unpack_from, _DELIVERED_HEAD.pack
    route = None
    address = delivered_route = b""
    fixed = first = next_id = 0
    correlation_ids: list[bytes] = []
    texts: list[bytes] = []
    frames: list[bytes] = []
    while end - position > _FIXED_PUBLISH:
        length, kind, correlation_id, publishing_id, size = unpack(data, position)
        stop = position + 4 + length
        if kind != _PUBLISH_KIND or stop > end:
            break
        text_start = position + _PUBLISH.size
        text_end = text_start + size
        time_start = stop - _TIME
        found = data[text_end:time_start]
        if route is None:
            route = routes.get(found)
            if route is None or (publishing_id and publishing_id <= published):
                return None
            address, first, next_id = found, publishing_id, publishing_id
            # Behind the scope and the count of one stands the name.
            delivered_route = sender + found[5:]
            fixed = _FIXED + len(delivered_route)
        elif found != address or publishing_id != next_id:
            break
        text = data[text_start:text_end]
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                break
        if first:
            next_id += 1
        correlation_ids.append(correlation_id)
        texts.append(text)
        head = pack(fixed + size, _DELIVERED, size)
        frames.append(head + text + delivered_route + data[time_start:stop])
        position = stop
    if route is None or not texts:
        return None
    return Scan(position, route, correlation_ids, texts, frames, first)


def scan_acks(data: bytes, position: int) -> tuple[int, int]:
    """Take the Acks that stand at ``position``.

    Returns:
        Where the first byte stands that was not taken, and the highest offset.
    """
    acks = _ACKS.match(data, position)
    if acks is None:
        return position, 0
    end = acks.end()
    (offset,) = max(_ACK.iter_unpack(data[position:end]))
    return end, offset
