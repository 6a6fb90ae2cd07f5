"""The chat protocol over WebSocket (RFC 6455; docs/protocol.md, clauses F18 to F20)."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from wsproto.connection import Connection as WebSocket
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from zope.interface import implementer

from chat_protocol.server.connection import QUANTUM, ChatProtocol
from chat_protocol.server.log_limiter import LogLimiter
from chat_protocol.transport.output import BufferedOutput
from chat_protocol.transport.sockets import tls_below, write_at_once

__all__ = ["WebSocketTransport"]

_PREFIX = 4
"""Bytes of the length before a frame of the chat protocol."""


@implementer(ITransport, IConsumer, IPushProducer, IHalfCloseableProtocol)
class WebSocketTransport(ProtocolWrapper):
    """The transport of a ChatProtocol whose bytes travel in binary messages of a WebSocket.

    A message may have as many bytes as the longest frame that the ChatProtocol takes at the time,
    with its length. A longer message ends the WebSocket with 1009, a text message with 1003.

    Args:
        chat: the protocol above.
        log: is told why the server ends the WebSocket.
        websocket: the WebSocket, after its handshake.
        answer: the answer to the handshake.
    """

    def __init__(
        self, chat: ChatProtocol, log: LogLimiter, websocket: WebSocket, answer: bytes
    ) -> None:
        self.wrappedProtocol: ChatProtocol = chat
        self.transport: Any = None
        self._log = log
        self._websocket = websocket
        self._answer = answer
        self._tls: Any = None
        self._events = websocket.events()
        """The events that have arrived and are not handled."""
        self._message = bytearray()
        """The part of a message that has arrived."""
        self._began: object | None = None
        self._close: CloseConnection | None = None
        """The Close that ends the WebSocket, unless the peer sends one first. None: a normal one.
        """
        self._failed = False
        """Whether the peer has broken the protocol: what follows has no meaning."""
        self._reads_on = True
        """Whether to read what follows, though it may be ignored."""
        self._peer_done = False

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self._tls = tls_below(transport)
        self._write(self._answer)
        self._answer = b""
        self.wrappedProtocol.makeConnection(self)  # type: ignore[no-untyped-call]

    # Below: frames of the WebSocket.

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        self.wrappedProtocol.heard = self.wrappedProtocol.seconds()
        self._websocket.receive_data(data)
        self._handle_events()

    def _handle_events(self) -> None:
        """Handle some events; others come in later turns."""
        whole, left = False, QUANTUM
        for event in self._events:
            if not self._may_send(event):
                return
            whole = self._handle(event)
            if self._is_over:
                return
            left -= 1
            if not left:
                self.wrappedProtocol.go_on_later(self._resume)
                break
        else:
            self._events = self._websocket.events()
        if whole:
            self._began = None
        elif self._began is None:
            self._began = object()

    def _resume(self) -> None:
        """Go on with the events that are left."""
        if not self._is_over and self.wrappedProtocol is not None:
            self._handle_events()

    @property
    def _is_over(self) -> bool:
        """Whether what follows has no meaning."""
        return self._failed or self._websocket.state is ConnectionState.CLOSED

    def _may_send(self, event: Event) -> bool:
        """Count a message that is no frame of the chat protocol, if there is no session."""
        chat = self.wrappedProtocol
        if chat.session is not None or (isinstance(event, BytesMessage) and event.data):
            return True
        return chat.may_send_before_login(0)

    def ignore_rest(self) -> None:
        """Ignore all that follows: the peer sends too much."""
        self._failed, self._reads_on = True, False
        self._close = CloseConnection(CloseReason.POLICY_VIOLATION)

    @property
    def unfinished(self) -> object | None:
        """The message whose rest has not arrived: the same object until it is complete."""
        return None if self._failed else self._began

    def _handle(self, event: Event) -> bool:
        """Handle an event; return whether no message is incomplete."""
        if isinstance(event, BytesMessage):
            return self._take(event)
        if isinstance(event, TextMessage):
            self._fail(
                CloseReason.UNSUPPORTED_DATA,
                "the client sends a text message, and only binary ones are accepted",
            )
        elif isinstance(event, Ping):
            self._answer_ping(event)
        elif isinstance(event, CloseConnection):
            self._end(event)
        return not self._message

    def _take(self, event: BytesMessage) -> bool:
        self._message += event.data
        longest = self.wrappedProtocol.MAX_LENGTH + _PREFIX
        if len(self._message) > longest:
            self._fail(CloseReason.MESSAGE_TOO_BIG, f"a message is longer than {longest} bytes")
        elif event.message_finished:
            message, self._message = self._message, bytearray()
            self.wrappedProtocol.dataReceived(bytes(message))
        return event.message_finished

    def _answer_ping(self, ping: Ping) -> None:
        if self._websocket.state is not ConnectionState.OPEN:
            return
        self._write(self._websocket.send(ping.response()))
        output = self.wrappedProtocol.output
        if isinstance(output, BufferedOutput) and output.full:
            # Until the transport has taken it.
            self.wrappedProtocol.pause(output)

    def _end(self, close: CloseConnection) -> None:
        state = self._websocket.state
        if state is ConnectionState.CLOSED:
            # This answers the server's Close.
            self.transport.loseConnection()
        elif state is ConnectionState.REMOTE_CLOSING:
            # The peer takes no more messages (section 5.5.1).
            self._write(self._websocket.send(close.response()))
            self.wrappedProtocol.end_behind_held(self.wrappedProtocol.close)
        else:
            # The peer gets the code only: the reason may be the text of an exception.
            self._fail(close.code, close.reason or "malformed frame")

    def _fail(self, code: int, why: str) -> None:
        """End the WebSocket after what the ChatProtocol still has to send."""
        self._failed = True
        self._close = CloseConnection(code)
        chat = self.wrappedProtocol
        if chat.reads:
            self._log.about(
                chat,
                "websocket",
                "Closing the WebSocket of {peer}: {why}",
                why=ascii(why)[1:-1],
            )
            chat.close()

    def readConnectionLost(self) -> None:
        self._peer_done = True
        self.wrappedProtocol.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Do nothing: the last byte is out."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Without a cycle both are freed at once.
        chat = self.wrappedProtocol
        self.wrappedProtocol = None  # type: ignore[assignment]
        chat.connectionLost(reason)

    def _write(self, data: bytes) -> None:
        if self._tls is None:
            self.transport.write(data)
        else:
            write_at_once(self._tls, data)

    # Above: bytes of the chat protocol.

    def write(self, data: bytes) -> None:
        """Send bytes in a message; after a Close nothing is sent."""
        if self._websocket.state is ConnectionState.OPEN:
            self._write(self._websocket.send(BytesMessage(data)))

    def loseConnection(self) -> None:
        """Send a Close and wait for the peer's, until the caller aborts the connection."""
        if self._websocket.state is not ConnectionState.OPEN:
            self.transport.loseConnection()
            return
        close = self._close or CloseConnection(CloseReason.NORMAL_CLOSURE)
        self._write(self._websocket.send(close))
        if self._reads_on:
            self.transport.resumeProducing()
        if self._peer_done:
            self.transport.loseConnection()
        elif self._failed:
            # What the peer sends is not parsed any more, so its Close would not be noticed.
            half = getattr(self.transport, "loseWriteConnection", None)
            if half is None or self._tls is not None:
                self.transport.loseConnection()
            else:
                half()

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        self.transport.stopProducing()
