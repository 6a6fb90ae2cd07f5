"""Requests of HTTP: twisted.web's parser with tighter limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.web.http import HTTPChannel
from twisted.web.server import Request, Site

__all__ = ["Channel", "ChannelSite"]

REQUEST_SECONDS = 30.0
"""From the beginning of a connection, or the end of an answer, to the end of the next request."""

_TOO_LONG = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class _Transport(Protocol):
    """What a channel writes to: see HTTPConnection."""

    @property
    def upgraded(self) -> bool: ...

    @property
    def is_last_request(self) -> bool: ...

    def request_received(self) -> None: ...

    def write(self, data: bytes) -> None: ...

    def dataReceived(self, data: bytes) -> None: ...


class Channel(HTTPChannel):
    """The requests of one connection, one at a time.

    A request has no body, at most 16 KiB with its headers, and REQUEST_SECONDS to arrive.
    """

    maxHeaders = 100
    transport: _Transport  # type: ignore[assignment]

    def resetTimeout(self) -> None:
        """Give a request no more time for bytes that arrive one by one."""

    def timeoutConnection(self) -> None:
        self.loseConnection()  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is longer than a whole request may be."""
        self.transport.write(_TOO_LONG)
        self.loseConnection()  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        """Refuse a request with a body, which twisted.web would keep in a file."""
        if self.length != 0:
            self.transport.write(_TOO_LARGE)
            self.loseConnection()  # type: ignore[no-untyped-call]
            return
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def allContentReceived(self) -> None:
        """Answer a request; others that have arrived come in later turns."""
        super().allContentReceived()  # type: ignore[no-untyped-call]
        self.transport.request_received()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Return whether another request may follow on the connection."""
        persists: bool = super().checkPersistence(request, version)  # type: ignore[no-untyped-call]
        if self.transport.is_last_request:
            request.responseHeaders.setRawHeaders(b"connection", [b"close"])
            return False
        return persists

    def rawDataReceived(self, data: bytes) -> None:
        """Take what follows the handshake of a WebSocket; nothing else can follow a request."""
        if self.transport.upgraded:
            self.transport.dataReceived(data)


class ChannelSite(Site):
    """Makes channels for a tree of resources, and logs no requests."""

    noisy = False
    protocol: Callable[[], Channel] = Channel  # type: ignore[assignment]

    def log(self, request: object) -> None:
        """Write nothing."""
