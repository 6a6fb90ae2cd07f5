"""The chat protocol over WebSocket (RFC 6455; docs/protocol.md, clauses F18 to F20)."""

from __future__ import annotations

from collections.abc import Iterator
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
from wsproto.connection import ConnectionState
from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed
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

    An idle session keeps no queue of wsproto's and no generator: half of what it would take.

    Args:
        chat: the protocol above.
        log: is told why the server ends the WebSocket.
        answer: the answer to the handshake, after which the WebSocket is open.
    """

    _close = CloseReason.NORMAL_CLOSURE
    """The code of the Close that ends the WebSocket, unless the peer sends one first."""
    _failed = False
    """Whether the peer has broken the protocol: what follows has no meaning."""
    _reads_on = True
    """Whether to read what follows, though it may be ignored."""
    _peer_done = False

    def __init__(self, chat: ChatProtocol, log: LogLimiter, answer: bytes) -> None:
        self.wrappedProtocol: ChatProtocol = chat
        self.transport: Any = None
        self._log = log
        self._answer = answer
        self._tls: Any = None
        self._state = ConnectionState.OPEN
        self._frames = FrameProtocol(client=False, extensions=[])
        self._left: Iterator[Frame] | None = None
        """The frames that have arrived and are not handled."""
        self._message: bytearray | None = None
        """The part of a message that has arrived."""
        self._began: object | None = None

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
        if self._state is not ConnectionState.REMOTE_CLOSING:
            self._frames.receive_bytes(data)
            self._handle_frames()

    def _handle_frames(self) -> None:
        """Handle some frames; others come in later turns."""
        whole, budget = False, QUANTUM
        frames, self._left = self._left or self._frames.received_frames(), None
        try:
            for frame in frames:
                if not self._may_send(frame):
                    return
                whole = self._handle(frame)
                if self._is_over:
                    return
                budget -= 1
                if not budget:
                    self._left = frames
                    self.wrappedProtocol.go_on_later(self._resume)
                    break
        except ParseFailed as failure:
            # The peer gets the code only: the reason may be the text of an exception.
            self._fail(failure.code, str(failure) or "malformed frame")
            return
        if whole:
            self._began = None
        elif self._began is None:
            self._began = object()

    def _resume(self) -> None:
        """Go on with the frames that are left."""
        if not self._is_over and self.wrappedProtocol is not None:
            self._handle_frames()

    @property
    def _is_over(self) -> bool:
        """Whether what follows has no meaning."""
        return self._failed or self._state is ConnectionState.CLOSED

    def _may_send(self, frame: Frame) -> bool:
        """Count a message that is no frame of the chat protocol, if there is no session."""
        chat = self.wrappedProtocol
        if chat.session is not None or (frame.opcode is Opcode.BINARY and frame.payload):
            return True
        return chat.may_send_before_login(0)

    def ignore_rest(self) -> None:
        """Ignore all that follows: the peer sends too much."""
        self._failed, self._reads_on = True, False
        self._close = CloseReason.POLICY_VIOLATION

    @property
    def unfinished(self) -> object | None:
        """The message whose rest has not arrived: the same object until it is complete."""
        return None if self._failed else self._began

    def _handle(self, frame: Frame) -> bool:
        """Handle a frame; return whether no message is incomplete."""
        if frame.opcode is Opcode.BINARY:
            self._take(frame)
        elif frame.opcode is Opcode.TEXT:
            self._fail(
                CloseReason.UNSUPPORTED_DATA,
                "the client sends a text message, and only binary ones are accepted",
            )
        elif frame.opcode is Opcode.PING:
            self._answer_ping(frame)
        elif frame.opcode is Opcode.CLOSE:
            self._end(frame)
        return self._message is None

    def _take(self, frame: Frame) -> None:
        data: Any = frame.payload
        if self._message is not None:
            self._message += data
            data = self._message
        longest = self.wrappedProtocol.MAX_LENGTH + _PREFIX
        if len(data) > longest:
            self._fail(CloseReason.MESSAGE_TOO_BIG, f"a message is longer than {longest} bytes")
        elif frame.message_finished:
            self._message = None
            self.wrappedProtocol.dataReceived(bytes(data))
        elif self._message is None:
            self._message = bytearray(data)

    def _answer_ping(self, ping: Frame) -> None:
        if self._state is not ConnectionState.OPEN:
            return
        payload: Any = ping.payload
        self._write(self._frames.pong(payload))
        output = self.wrappedProtocol.output
        if isinstance(output, BufferedOutput) and output.full:
            # Until the transport has taken it.
            self.wrappedProtocol.pause(output)

    def _end(self, close: Frame) -> None:
        if self._state is ConnectionState.LOCAL_CLOSING:
            # This answers the server's Close.
            self._state = ConnectionState.CLOSED
            self.transport.loseConnection()
            return
        # The peer takes no more messages (section 5.5.1).
        payload: Any = close.payload
        self._write(self._frames.close(*payload))
        self._state = ConnectionState.CLOSED
        self.wrappedProtocol.end_behind_held(self.wrappedProtocol.close)

    def _fail(self, code: CloseReason, why: str) -> None:
        """End the WebSocket after what the ChatProtocol still has to send."""
        self._failed = True
        self._close = code
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

    def _write(self, data: bytes | bytearray) -> None:
        if self._tls is None:
            self.transport.write(bytes(data))
        else:
            write_at_once(self._tls, bytes(data))

    # Above: bytes of the chat protocol.

    def write(self, data: bytes) -> None:
        """Send bytes in a message; after a Close nothing is sent."""
        if self._state is ConnectionState.OPEN:
            self._write(self._frames.send_data(data))

    def loseConnection(self) -> None:
        """Send a Close and wait for the peer's, until the caller aborts the connection."""
        if self._state is not ConnectionState.OPEN:
            self.transport.loseConnection()
            return
        self._write(self._frames.close(self._close))
        self._state = ConnectionState.LOCAL_CLOSING
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
