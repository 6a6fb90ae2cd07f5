"""What hostile connections send, encoded in advance."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from benchmarks.frames import login
from chat_protocol.wire.codec import encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    CorrelationIdTest,
    LoginAnswer,
    Message,
    Publish,
    Response,
    Scope,
)

__all__ = ["KINDS", "LOGGED_IN", "PLAIN", "TLS", "UPGRADE", "WEBSOCKET", "Kind", "in_websocket"]

PLAIN = "plain"
TLS = "TLS"
WEBSOCKET = "WebSocket"

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""The request that opens a WebSocket."""

LOGGED_IN = encode(LoginAnswer(Code.OK), 1, 2)[4:13]
"""Version, key, correlationId and code of the answer to a successful login."""

_PIECE = 4096
"""Size of the payload of a WebSocket message, in bytes."""


@dataclass(frozen=True)
class Kind:
    """A kind of hostile load."""

    title: str
    data: bytes
    """What each connection sends again and again."""
    logs_in: bool = False
    transport: str | None = None
    """The only transport of this kind; None if it can use each."""

    def first(self, name: str) -> bytes:
        """Return what a connection sends before the data.

        Args:
            name: the username, if the kind logs in.
        """
        return login(name, 2) if self.logs_in else b""


def in_websocket(data: bytes) -> bytes:
    """Return bytes as binary WebSocket messages of a client, with a mask of zeros."""
    pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
    return b"".join(
        (
            struct.pack(">BB4x", 0x82, 0x80 | len(piece))
            if len(piece) < 126
            else struct.pack(">BBH4x", 0x82, 0xFE, len(piece))
        )
        + piece
        for piece in pieces
    )


def _frame(version: int, key: int, body: bytes) -> bytes:
    return struct.pack(">IBHI", 7 + len(body), version, key, 1) + body


_UNKNOWN = _frame(1, 4, b"") * 2000
_MESSAGE = encode(Message("m" * 20, "a", "nobody-here", 7), 1, 1) * 1000
_PUBLISH = encode(Publish(0, "m", Scope.USERS, (), 7), 1, 2)
_COUNT = 130_000
# encode() refuses to write so many recipients, so the empty list in front of the time is replaced.
_PUBLISH = _frame(2, 0x0102, _PUBLISH[11:-12] + struct.pack(">I", _COUNT) + bytes(2 * _COUNT + 8))

KINDS = {
    "unknown": Kind("unknown commands", _UNKNOWN),
    "responses": Kind("Responses", encode(Response(Code.OK), 1) * 2000),
    "tests": Kind("CorrelationIdTests", encode(CorrelationIdTest(), 1, 1) * 2000),
    "no-login": Kind("Messages without a login", _MESSAGE),
    "bad-login": Kind(
        "Logins with 16,000 properties",
        _frame(2, 0x0001, b"\0\1x" + struct.pack(">I", 16_000) + bytes(4 * 16_000)),
    ),
    "http": Kind("pipelined HTTP requests", b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 500),
    "empty-ws": Kind("empty WebSocket messages", b"\x82\x80\0\0\0\0" * 5000, transport=WEBSOCKET),
    "in-unknown": Kind("users: unknown commands", _UNKNOWN, logs_in=True),
    "in-nobody": Kind("users: Messages to an unknown recipient", _MESSAGE, logs_in=True),
    "in-130000": Kind("users: Publish to 130,000 recipients", _PUBLISH, logs_in=True),
}
