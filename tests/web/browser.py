"""The other end of HTTP and of a WebSocket, byte by byte, and of the server without a reactor."""

from __future__ import annotations

import base64
import hashlib
import struct
from pathlib import Path
from typing import NamedTuple

from chat_protocol.domain.limits import Limits
from chat_protocol.server.sniffer import Sniffer
from chat_protocol.web.site import Web
from tests.server.line import Peer, Server

KEY = base64.b64encode(bytes(range(16)))
BINARY, TEXT, CLOSE, PING, PONG = 2, 1, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ACCEPT = base64.b64encode(hashlib.sha1(KEY + _GUID).digest())


class Answer(NamedTuple):
    """One answer of HTTP."""

    code: int
    headers: dict[str, str]
    body: bytes


def get(path: str = "/", *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: chat.example:5555", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def upgrade(*headers: str, origin: str | None = "http://chat.example:5555") -> bytes:
    return get(
        "/ws",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY.decode()}",
        *([f"Origin: {origin}"] if origin is not None else []),
        *headers,
    )


def frame(data: bytes, kind: int = BINARY, last: bool = True, masked: bool = True) -> bytes:
    """A frame of a client (RFC 6455, section 5.2)."""
    mask = b"\x37\xfa\x21\x3d" if masked else b""
    size = len(data)
    if size < 126:
        header = struct.pack(">BB", last << 7 | kind, masked << 7 | size)
    elif size < 65536:
        header = struct.pack(">BBH", last << 7 | kind, masked << 7 | 126, size)
    else:
        header = struct.pack(">BBQ", last << 7 | kind, masked << 7 | 127, size)
    if masked:
        data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return header + mask + data


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """All frames of a server: kinds and payloads; nothing may be left."""
    found = []
    while data:
        kind, size = data[0], data[1]
        assert kind & 0x80
        start = 2
        if size == 126:
            (size,), start = struct.unpack_from(">H", data, 2), 4
        elif size == 127:
            (size,), start = struct.unpack_from(">Q", data, 2), 10
        assert len(data) >= start + size
        found.append((kind & 0x0F, data[start : start + size]))
        data = data[start + size :]
    return found


def close(code: int) -> tuple[int, bytes]:
    return CLOSE, struct.pack(">H", code)


def answers(data: bytes, method: str = "GET") -> list[Answer]:
    """All answers to requests of that method."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs)
        code = int(first.split()[1])
        bodiless = method == "HEAD" or code in (101, 304)
        size = 0 if bodiless else int(headers.get("content-length", 0))
        found.append(Answer(code, headers, data[:size]))
        data = data[size:]
    return found


class Browser:
    """One connection to a server with the page."""

    def __init__(
        self,
        limits: Limits | None = None,
        server: Server | None = None,
        directory: Path | None = None,
    ) -> None:
        self.server = server or Server(limits=limits)
        if server is None:
            self.server.factory.sniffer = Sniffer(web=Web(self.server.clock, directory))
        self.peer: Peer = self.server.connect()

    def raw(self, *data: bytes) -> bytes:
        """Send it in one segment; what has come back at the end of the turn."""
        self.peer.protocol.dataReceived(b"".join(data))
        self.server.turn()
        return self.taken()

    def taken(self) -> bytes:
        data: bytes = self.peer.transport.value()
        self.peer.transport.clear()
        return data

    def ask(self, data: bytes, method: str = "GET") -> Answer:
        (answer,) = answers(self.raw(data), method)
        return answer

    def open(self) -> Browser:
        """Have a WebSocket."""
        assert self.ask(upgrade()).code == 101
        return self

    def send(self, *data: bytes) -> list[tuple[int, bytes]]:
        """Send bytes on the WebSocket; the frames that come back."""
        return frames(self.raw(*data))

    @property
    def closed(self) -> bool:
        return bool(self.peer.transport.disconnecting)
