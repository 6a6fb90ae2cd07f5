"""The parser of HTTP: that of twisted.web with tighter limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.web.http import HTTPChannel
from twisted.web.server import Request, Site

from chat_protocol.web.files import HEADERS

__all__ = ["Channel", "ChannelSite"]

REQUEST_SECONDS = 30.0
"""From the beginning of a connection, or the end of an answer, to the end of the next request."""


def _refusal(status: bytes) -> bytes:
    headers = {**HEADERS, b"connection": b"close", b"content-length": b"0"}
    lines = (b"%s: %s\r\n" % header for header in headers.items())
    return b"HTTP/1.1 %s\r\n%s\r\n" % (status, b"".join(lines))


_BAD_REQUEST = _refusal(b"400 Bad Request")
_TOO_LARGE = _refusal(b"413 Content Too Large")


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
        self._respondToBadRequestAndDisconnect()

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        """Refuse what twisted.web cannot parse; its own refusal has no headers."""
        self.transport.write(_BAD_REQUEST)
        self.loseConnection()  # type: ignore[no-untyped-call]

    def headerReceived(self, line: bytes) -> bool:
        """Take a header; return whether it can be parsed."""
        try:
            return bool(super().headerReceived(line))  # type: ignore[no-untyped-call]
        except ValueError:
            # Of a length with thousands of digits.
            self._respondToBadRequestAndDisconnect()
            return False

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
