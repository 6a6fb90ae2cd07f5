"""The protocol over WebSocket (RFC 6455; docs/protocol.md, clauses F18 to F20).

A :class:`Line` is the transport of a connection whose bytes come and go in binary messages; the
connection above it is the same as over TCP.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import h11
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.websocket import WebSocketResource
from wsproto.utilities import ProtocolError
from zope.interface import implementer

from chat_protocol.transport.output import BufferedOutput
from chat_protocol.transport.sockets import tls_below, write_at_once
from chat_protocol.web.files import answer

if TYPE_CHECKING:
    from chat_protocol.domain.turn import Turn
    from chat_protocol.server.connection import ChatProtocol
    from chat_protocol.web.http import Carrier

__all__ = ["Line", "Messages", "is_same_origin"]

_PREFIX = 4
_PONG_HEADER = 2
_MASKED_HEADER = 6

NORMAL = 1000
PROTOCOL_ERROR = 1002
UNSUPPORTED = 1003
TOO_BIG = 1009


class _State(Enum):
    """What was said of the end (RFC 6455, section 7.1)."""

    OPEN = auto()
    SAYING = auto()
    """A Close is being written."""
    SAID = auto()
    """The peer's Close is waited for."""
    CLOSED = auto()
    """Both have said it."""


_NEXT = {
    _State.OPEN: _State.CLOSED,
    _State.SAYING: _State.SAID,
    _State.SAID: _State.CLOSED,
    _State.CLOSED: _State.CLOSED,
}
"""What follows when the wire closes its transport: behind its own Close, and the peer's."""


class _Wire:
    """The transport that the WebSocket writes its frames to."""

    __slots__ = ("_line",)

    def __init__(self, line: Line) -> None:
        self._line = line

    def write(self, data: bytes) -> None:
        """A frame."""
        self._line.write_frame(data)

    def loseConnection(self) -> None:
        """The WebSocket has written its Close."""
        self._line.said()


class _Output(BufferedOutput):
    """Output by messages: what the transport takes is no TLS record yet."""

    __slots__ = ()

    def __init__(self, line: Line, turn: Turn, owner: ChatProtocol) -> None:
        super().__init__(line, turn, owner)
        self._tls = None

    @property
    def full(self) -> bool:
        """Whether the transport below takes nothing."""
        return self._full


@implementer(ITransport, IConsumer, IPushProducer)
class Line(ProtocolWrapper):
    """A transport whose bytes are those of binary messages.

    Conforms to WebSocketProtocol, too. A message may be as long as the longest frame that the
    connection takes; more is answered with 1009, a text with 1003.

    Args:
        connection: speaks HTTP until now.
        carrier: carries that.
    """

    def __init__(self, connection: ChatProtocol, carrier: Carrier) -> None:
        self.connection: ChatProtocol | None = connection
        self.transport: Any = carrier.below
        self._tls = tls_below(self.transport)
        self._state = _State.OPEN
        self._code = NORMAL
        self._deaf = False
        """What comes in is not understood any more."""
        self._pending = 0
        """Bytes of the message that is not complete."""
        self.unfinished: object | None = None
        self._wire: Any = None
        carrier.line = self

    # WebSocketProtocol

    def negotiationStarted(self, transport: Any) -> None:
        """See WebSocketProtocol."""
        self._wire = transport
        self._wire.transport = _Wire(self)

    def negotiationFinished(self) -> None:
        """See WebSocketProtocol: from here on it is the connection's transport."""
        connection = self._connected
        connection.output.finish()
        output = _Output(self, connection.factory.turn, connection)
        connection.carry(self, self, output, self.received)

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        """See WebSocketProtocol."""
        self._pending = 0
        connection = self._connected
        type(connection).dataReceived(connection, bytes(data))

    def textMessageReceived(self, message: str) -> None:
        """See WebSocketProtocol."""
        self._fail(UNSUPPORTED, "it sends text, and only bytes are taken")

    def pongReceived(self, payload: bytes) -> None:
        """See WebSocketProtocol."""
        self._pending -= len(payload) + _MASKED_HEADER

    # Below: bytes of the WebSocket.

    @property
    def _connected(self) -> ChatProtocol:
        assert self.connection is not None
        return self.connection

    def received(self, data: bytes) -> None:
        """Bytes came in."""
        if self._deaf:
            return
        connection = self._connected
        connection.heard = True
        self._pending += len(data)
        while True:
            try:
                self._wire.dataReceived(data)
                break
            except ProtocolError as error:
                if self._state is not _State.SAID:
                    self._fail(PROTOCOL_ERROR, f"{error}")
                    return
                # A Pong that is not sent any more: the peer's Close may be behind it.
                data = b""
        self._pending = max(0, self._pending)
        if not self._pending:
            self.unfinished = None
        elif self.unfinished is None:
            self.unfinished = object()
        if self._pending > connection.MAX_LENGTH + _PREFIX + 14 and not self._deaf:
            self._fail(TOO_BIG, f"a message is longer than {connection.MAX_LENGTH + _PREFIX} bytes")

    def _fail(self, code: int, why: str) -> None:
        self._deaf = True
        self._code = code
        self.unfinished = None
        connection = self._connected
        if connection.reads:
            connection.factory.limit_log.about(
                connection,
                "websocket",
                "Closing the WebSocket of {peer}: {why}",
                why=ascii(why)[1:-1],
            )
            connection.close()

    def write_frame(self, data: bytes) -> None:
        """Write a frame that the WebSocket has made: of ours, a Pong, a Close."""
        self.write_raw(data)
        if data[0] == 0x8A:
            self._pending -= len(data) - _PONG_HEADER + _MASKED_HEADER
            connection = self._connected
            output = connection.output
            if isinstance(output, _Output) and output.full:
                # Until it has taken those.
                connection.hold(output)

    def write_raw(self, data: bytes) -> None:
        """Write bytes to the connection's own transport."""
        if self._tls is None:
            self.transport.write(data)
        else:
            write_at_once(self._tls, data)

    def said(self) -> None:
        """The WebSocket has written a Close, its own or the answer to the peer's."""
        before, self._state = self._state, _NEXT[self._state]
        if before is _State.OPEN:
            # The peer takes nothing any more (section 5.5.1).
            self._connected.close()
        elif before is _State.SAID:
            self.transport.loseConnection()

    def lost(self, reason: Failure) -> None:
        """The connection is gone: without cycles, so is what it was made of."""
        self._wire = self.connection = None
        self._state = _State.CLOSED

    # Above: bytes of the protocol.

    def write(self, data: bytes) -> None:
        """See ITransport; behind a Close nothing is written."""
        if self._state is _State.OPEN:
            self._wire.sendBytesMessage(data)

    def loseConnection(self) -> None:
        """See ITransport: say it, and wait for the peer to say it; for how long is not known."""
        if self._state is not _State.OPEN:
            self.transport.loseConnection()
            return
        self._state = _State.SAYING
        self._wire.loseConnection(self._code)
        self.transport.resumeProducing()
        if self._connected.peer_done:
            self.transport.loseConnection()
        elif self._deaf:
            # Its Close would not be understood: the end of its stream is waited for.
            half = getattr(self.transport, "loseWriteConnection", None)
            if half is None or self._tls is not None:
                self.transport.loseConnection()
            else:
                half()

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """See IPushProducer."""
        self.transport.stopProducing()


def is_same_origin(origin: bytes, host: bytes, secure: bool) -> bool:
    """Whether a page of that origin came from that host (RFC 6454, section 7).

    Its scheme is the connection's, or a proxy's in front of it; the ports are compared as they
    stand, none being the one of the scheme.
    """
    try:
        parts = urlsplit(origin.decode("ascii").lower())
        mine = urlsplit("//" + host.decode("ascii").lower())
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or secure > (parts.scheme == "https")
        ):
            return False
        if parts.path or parts.query or parts.fragment or "@" in parts.netloc + mine.netloc:
            return False
        port = 443 if parts.scheme == "https" else 80
        return (parts.hostname, parts.port or port) == (mine.hostname, mine.port or port)
    except ValueError:
        return False


def _carrier(request: Any) -> Carrier:
    found: Carrier = request.channel.transport
    return found


class _Factory:
    """Makes the lines: see WebSocketServerFactory."""

    def buildProtocol(self, request: Request) -> Line:
        carrier = _carrier(request)
        return Line(carrier.connection, carrier)


class Messages(WebSocketResource):
    """The WebSocket at its path."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__(_Factory())

    def render(self, request: Request) -> bytes | int:
        """See IResource."""
        request.setHeader(b"cache-control", b"no-store")
        if request.method != b"GET":
            request.setHeader(b"allow", b"GET")
            return answer(request, 405, b"this is a WebSocket\n")
        headers = request.requestHeaders
        upgrades = headers.getRawHeaders(b"upgrade", [])
        versions = headers.getRawHeaders(b"sec-websocket-version", [])
        tokens = b",".join(headers.getRawHeaders(b"connection", [])).lower().split(b",")
        if (
            [one.lower() for one in upgrades] != [b"websocket"]
            or b"upgrade" not in [token.strip() for token in tokens]
            or versions != [b"13"]
        ):
            request.setHeader(b"upgrade", b"websocket")
            request.setHeader(b"sec-websocket-version", b"13")
            return answer(request, 426, b"this is a WebSocket\n")
        carrier = _carrier(request)
        hosts = headers.getRawHeaders(b"host", [])
        origins = headers.getRawHeaders(b"origin", [])
        if len(hosts) != 1 or len(origins) > 1:
            return answer(request, 400, b"one Host, please, and one Origin\n")
        if origins and not is_same_origin(origins[0], hosts[0], carrier.secure):
            connection = carrier.connection
            connection.factory.limit_log.about(
                connection,
                "origin",
                "Refused a WebSocket of {peer}: a page of {origin} asks for it, and this is {host}",
                origin=ascii(origins[0])[2:-1],
                host=ascii(hosts[0])[2:-1],
            )
            return answer(request, 403, b"pages of other sites have no WebSocket here\n")
        if not carrier.is_idle or not headers.hasHeader(b"sec-websocket-key"):
            return answer(request, 400, b"this is no handshake of a WebSocket\n")
        with suppress(h11.ProtocolError, ProtocolError, ValueError):
            if super().render_GET(request) == NOT_DONE_YET:
                return NOT_DONE_YET
        return answer(request, 400, b"this is no handshake of a WebSocket\n")
