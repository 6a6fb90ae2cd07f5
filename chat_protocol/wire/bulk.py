"""Bulk decoding: many frames of one command at once, from bytes to bytes.

A delivered Message differs from the received one in its correlationId only, provided that ``from``
is the sender's name and ``to`` is the normalized name of the recipient. The bytes of these two
strings are the *route*. Routes repeat, so the codec checks a route once, and later messages look it
up. For each message it remains to check that the frame ends after the route and the time, and that
the text is UTF-8. A Publish has another header and names its recipients in another way; it is
converted to the equivalent Message. Of consecutive Acks, only the highest offset counts.

All other frames are left to :mod:`chat_protocol.wire.codec`. Tests compare the results of both.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

__all__ = ["ACK_SIZE", "MAX_ROUTE", "Route", "Scan", "scan_acks", "scan_messages", "scan_publishes"]

MAX_ROUTE = 4096
"""The longest route that is looked up, in bytes: hashing costs time for each byte."""


class Route(Protocol):
    """The recipients of a Publish."""

    @property
    def tail(self) -> bytes:
        """The name of the recipient, encoded as a string; the empty string unless there is one."""


R = TypeVar("R")
P = TypeVar("P", bound=Route)

_MESSAGE = struct.Struct(">I3s4sH")
"""Length, version and key, correlationId, size of the text."""
_MESSAGE_KIND = struct.pack(">BH", 1, 0x0002)
_DELIVERED = _MESSAGE_KIND + bytes(4)
_DELIVERED_HEAD = struct.Struct(">I7sH")
_PUBLISH = struct.Struct(">I3s4sQH")
"""Length, version and key, correlationId, publishing id, size of the text."""
_PUBLISH_KIND = struct.pack(">BH", 2, 0x0102)
_ACK = struct.Struct(">11xQ")
"""The offset of an Ack."""
ACK_SIZE = _ACK.size
_ACK_HEAD = struct.pack(">IBH", ACK_SIZE - 4, 2, 0x010A)
_ACKS = re.compile(b"(?:" + re.escape(_ACK_HEAD) + b".{12})+", re.DOTALL)
_TIME = 8
_FIXED = _MESSAGE.size - 4 + _TIME
"""Size of a payload without its text and its route, in bytes."""
_FIXED_PUBLISH = _PUBLISH.size - 4 + _TIME


class Scan(NamedTuple):
    """Consecutive messages from one sender along one route."""

    end: int
    """Position of the first byte that was not taken."""
    route: Any
    """What ``routes`` has for it. (A NamedTuple cannot be generic before Python 3.11.)"""
    correlation_ids: list[bytes]
    texts: list[bytes]
    frames: list[bytes]
    """The messages as version 1 frames with correlationId 0."""
    publishing_id: int = 0
    """The publishing id of the first message; the ids are consecutive. 0: no message has an id."""


def scan_messages(
    data: bytes, position: int, routes: Mapping[bytes, R], most: int | None = None
) -> Scan | None:
    """Take the Messages at ``position`` that have one known route.

    Args:
        data: bytes as they were received.
        position: where a frame begins.
        routes: the known routes, as wire.frames.encode_route writes them.
        most: maximum number of bytes to take; None: no maximum.

    Returns:
        None if not even one can be taken.
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
        if kind != _MESSAGE_KIND or stop > end:
            break
        text_start = position + _MESSAGE.size
        text_end = text_start + size
        found = data[text_end : stop - _TIME]
        if route is None:
            if len(found) > MAX_ROUTE:
                return None
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
    routes: Mapping[bytes, P],
    most: int | None = None,
) -> Scan | None:
    """Take the Publishes at ``position`` that go to one known audience and are new.

    Args:
        data: bytes as they were received.
        position: where a frame begins.
        published: the highest publishing id that may be stored; only higher consecutive ones are
            taken, or Publishes without an id.
        sender: the name of the sender, as a string of the protocol.
        routes: the known audiences, as wire.frames.encode_address writes them.
        most: maximum number of bytes to take; None: no maximum.

    Returns:
        None if not even one can be taken.
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
            if len(found) > MAX_ROUTE:
                return None
            route = routes.get(found)
            if route is None or (publishing_id and publishing_id <= published):
                return None
            address, first, next_id = found, publishing_id, publishing_id
            delivered_route = sender + route.tail
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
    """Take the Acks at ``position``.

    Returns:
        The position of the first byte that was not taken, and the highest offset.
    """
    acks = _ACKS.match(data, position)
    if acks is None:
        return position, 0
    end = acks.end()
    (offset,) = max(_ACK.iter_unpack(data[position:end]))
    return end, offset
