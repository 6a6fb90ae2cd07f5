"""What clients can ask for, and how much is granted: properties of a login, sizes of answers."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.limits import Limits
from chat_protocol.domain.login_rules import is_device_name, sender_name
from chat_protocol.errors import Malformed
from chat_protocol.wire.codec import MAX_FRAME
from chat_protocol.wire.codes import Code
from chat_protocol.wire.frames import encode_address, encode_deliver_route, encode_stored

__all__ = [
    "ANSWER_BYTES",
    "DEFAULT_PAGE",
    "DEFAULT_WINDOW",
    "MAX_HEARTBEAT",
    "MAX_PAGE",
    "LoginProperties",
    "history_answer",
    "page_size",
]

DEFAULT_WINDOW = 1000
"""Window of a session that asks for none, in unacknowledged messages."""

MAX_HEARTBEAT = 3600
"""Longest heartbeat that is granted, in seconds."""

DEFAULT_PAGE = 100
"""Users or messages in an answer to a client that asks for 0."""

MAX_PAGE = 1000
"""Most users or messages in an answer."""

ANSWER_BYTES = MAX_FRAME - 1024
"""Size in bytes that an answer does not exceed, whatever the client asked for."""


_HISTORY = struct.Struct(">HHI")
"""Code, an empty detail, and the number of messages."""


def page_size(limit: int) -> int:
    """Return how many users or messages are granted to a client that asks for ``limit``."""
    return min(limit or DEFAULT_PAGE, MAX_PAGE)


def history_answer(entries: Sequence[Entry]) -> bytes:
    """Return the fields of a HistoryAnswer with the newest messages of entries that fit into it.

    They are encoded as they are stored: an answer can have a thousand messages.
    """
    routes: dict[tuple[str, int, tuple[str, ...]], bytes] = {}
    newest_first: list[bytes] = []
    for entry in reversed(entries):
        key = entry.sender, entry.scope, entry.to
        route = routes.get(key)
        if route is None:
            route = encode_deliver_route(entry.sender, encode_address(entry.scope, entry.to))
            routes[key] = route
        newest_first += reversed(encode_stored(entry.offset, route, entry.frames))
    sizes = accumulate(map(len, newest_first))
    fits = max(1, bisect_right(list(sizes), ANSWER_BYTES))
    messages = newest_first[:fits]
    return _HISTORY.pack(Code.OK, 0, len(messages)) + b"".join(reversed(messages))


class LoginProperties(NamedTuple):
    """The properties of a login that the server knows, as granted."""

    window: int
    heartbeat: int
    presence: bool
    session: str
    password: str | None
    device: str
    """See domain.login_rules.LoginRequest."""
    takes_over: bool

    @classmethod
    def read(cls, properties: Mapping[str, str], limits: Limits) -> LoginProperties:
        """Read properties. A number that cannot be read counts as missing.

        Raises:
            Malformed: no device can have that name.
        """
        receives = properties.get("receive") != "0"
        device = properties.get("device")
        if device is not None and not is_device_name(device):
            raise Malformed("device: 1 to 64 characters of ASCII, from ! to ~")
        device = device or ""
        return cls(
            min(_number(properties, "window") or DEFAULT_WINDOW, limits.window),
            min(_number(properties, "heartbeat"), MAX_HEARTBEAT),
            receives and properties.get("presence") == "1",
            properties.get("session", ""),
            properties.get("password"),
            device if receives else sender_name(device),
            receives and properties.get("takeover") == "1",
        )


def _number(properties: Mapping[str, str], name: str) -> int:
    text = properties.get(name, "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else 0
