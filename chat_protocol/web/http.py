"""HTTP on a connection of the server: twisted.web over what the connection writes by.

The connection stays what it was, one of those without a login: it counts among those of its
address, and ends when it takes too long. Its transport is twisted.web's through a
:class:`Carrier` until it is closed, or until a WebSocket takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Site
from zope.interface import implementer

from chat_protocol.transport.output import output_for
from chat_protocol.transport.sockets import is_tls

if TYPE_CHECKING:
    from chat_protocol.server.connection import ChatProtocol
    from chat_protocol.web.websocket import Line

__all__ = ["Carrier", "Channel", "WebSite"]

REQUEST_SECONDS = 30.0
"""From the beginning of a connection, or the end of an answer, to the end of the next request."""

RESPONSE_BUFFER = 256 * 1024
"""Bytes of answers that are not taken, from which on the next request waits."""

_TOO_LONG = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Channel(HTTPChannel):
    """Requests without bodies, each within REQUEST_SECONDS, of 16 KiB with their headers."""

    maxHeaders = 100
    transport: Carrier

    def resetTimeout(self) -> None:
        """See TimeoutMixin: bytes that come one by one give a request no more time."""

    def timeoutConnection(self) -> None:
        """See TimeoutMixin."""
        self.loseConnection()  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        """See LineReceiver: longer than all that a request may have."""
        self.transport.write(_TOO_LONG)
        self.loseConnection()  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        """See HTTPChannel."""
        if self.length != 0:
            # Nothing here takes a body, and it would be kept in a file.
            self.transport.write(_TOO_LARGE)
            self.loseConnection()  # type: ignore[no-untyped-call]
            return
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def rawDataReceived(self, data: bytes) -> None:
        """See LineReceiver: what came in behind a request."""
        carrier = self.transport
        if carrier.line is not None:
            carrier.line.received(data)
        elif not carrier.disconnecting:
            super().rawDataReceived(data)


class WebSite(Site):
    """The pages, without a log of who looked at them."""

    noisy = False
    protocol: Callable[[], Channel] = Channel  # type: ignore[assignment]

    def log(self, request: object) -> None:
        """See Site."""


@implementer(ITransport)
class Carrier:
    """What twisted.web has for a transport: the output of a connection.

    Args:
        connection: on which the first bytes are no frames.
        site: makes the channels.
    """

    unfinished = None
    """The time of requests is taken by twisted.web."""

    def __init__(self, connection: ChatProtocol, site: Site) -> None:
        self.connection = connection
        self.below: Any = connection.transport
        """The connection's own transport."""
        self.line: Line | None = None
        """What took the place of HTTP."""
        self._unwritten = 0
        connection.output.finish()
        connection.carry(
            self, self.below, output_for(self.below, connection.factory.turn, self), self.received
        )
        self.channel: Channel = site.buildProtocol(None)
        self.channel.makeConnection(self)

    def received(self, data: bytes) -> None:
        """Bytes came in."""
        if self.connection.reads:
            self.connection.heard = True
            self.channel.dataReceived(data)  # type: ignore[no-untyped-call]
            if self.line is not None:
                self._leave()

    def _leave(self) -> None:
        # Without cycles it goes at once.
        channel = self.channel
        del self.channel
        channel.requests.clear()
        channel.__dict__.pop("dataReceived", None)
        channel.__dict__.pop("connectionLost", None)
        channel.transport = None  # type: ignore[assignment]

    def lost(self, reason: Failure) -> None:
        """The connection is gone."""
        channel = self.channel
        channel.connectionLost(reason)  # type: ignore[no-untyped-call]
        self._leave()

    @property
    def secure(self) -> bool:
        """Whether it is HTTPS."""
        return is_tls(self.below)

    @property
    def is_idle(self) -> bool:
        """Whether all that was written is taken."""
        return self.connection.output.empty

    # The output's side.

    def output_drained(self) -> None:
        """See Owner: what waits is answered now."""
        self._unwritten = 0
        self.connection.output_drained()
        if self.channel.paused:
            self.channel.paused = False
            self.connection.release(self)
            self.received(b"")

    def output_unread(self, size: int) -> None:
        """See Owner."""
        self.connection.output_unread(size)

    # ITransport

    @property
    def disconnecting(self) -> bool:
        """Whether nothing more is read."""
        return not self.connection.reads

    def write(self, data: bytes) -> None:
        """See ITransport."""
        if self.line is not None:
            self.line.write_raw(data)
            return
        self.connection.answer(data)
        self._unwritten += len(data)
        if self._unwritten > RESPONSE_BUFFER and not self.channel.paused:
            self.channel.paused = True
            self.connection.hold(self)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See ITransport."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See ITransport."""
        self.connection.close()

    def abortConnection(self) -> None:
        """End the connection at once."""
        self.connection.cut_off()

    def getPeer(self) -> Any:
        """See ITransport."""
        return self.below.getPeer()

    def getHost(self) -> Any:
        """See ITransport."""
        return self.below.getHost()
