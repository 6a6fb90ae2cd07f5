"""A connection that speaks HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.server import Site
from zope.interface import implementer

from chat_protocol.server.sessionless import Acceptor, SessionlessConnection
from chat_protocol.server.state import ConnectionState
from chat_protocol.server.trusted_proxies import ClientOfProxy
from chat_protocol.transport.addresses import address_of
from chat_protocol.transport.output import Output, output_for
from chat_protocol.transport.sockets import is_tls
from chat_protocol.web.channel import Channel
from chat_protocol.web.websocket import WebSocketTransport

__all__ = ["HTTPConnection"]

RESPONSE_BUFFER = 256 * 1024
"""Bytes of untaken answers above which the next request waits."""


@implementer(ITransport)
class HTTPConnection(SessionlessConnection):
    """A connection that speaks HTTP; twisted.web parses the requests and writes the answers to it.

    Like any connection without a session, it counts for its address, and it is closed if the
    client takes too long to log in. To log in, the client needs a WebSocket.

    Args:
        acceptor: the factory.
        site: makes the channel that parses requests.
    """

    output: Output
    paused = False
    _channel: Channel | None
    _resuming = False
    """Whether a later turn resumes it."""
    _waits = False
    """Whether the client has to take answers first."""
    _peer_done = False
    """Whether the peer has closed its side, and requests are left."""
    _requests = 0
    _received = 0

    def __init__(self, acceptor: Acceptor, site: Site) -> None:
        super().__init__(acceptor)
        self._site = site
        self._unsent = 0
        """Bytes written since the transport had taken everything."""

    def connectionMade(self) -> None:
        self.output = output_for(self.transport, self.acceptor.turn, self)
        channel: Channel = self._site.buildProtocol(None)
        self._channel = channel
        channel.makeConnection(self)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._end_http(reason)

    def readConnectionLost(self) -> None:
        """Close the connection when the requests that have arrived are answered."""
        if self._resuming and self.reads:
            self._peer_done = True
        else:
            super().readConnectionLost()

    def received(self, data: bytes) -> None:
        """Answer requests."""
        assert self._channel is not None
        self._received += len(data)
        if 0 < self.acceptor.limits.bytes_before_login < self._received:
            self.acceptor.too_much_before_login(self, "bytes_before_login")
            return
        self._channel.dataReceived(data)  # type: ignore[no-untyped-call]
        if self.upgraded:
            self._end_http(connectionDone)

    def request_received(self) -> None:
        """Count a request. Others that have arrived are answered in later turns."""
        self._requests += 1
        if not self.upgraded:
            self._pause()
            self._resume_later()

    @property
    def is_last_request(self) -> bool:
        """Whether the connection ends after the next answer."""
        return 0 < self.acceptor.limits.frames_before_login <= self._requests + 1

    def upgrade(self, answer: bytes) -> None:
        """Hand the connection over to a ChatProtocol, with a WebSocket between.

        Args:
            answer: the answer to the handshake.
        """
        self.output.finish()
        chat = self.acceptor.chat_protocol()
        transport = WebSocketTransport(chat, self.acceptor.log_limiter, answer)
        self.hand_over(chat, transport)

    def forward(self, forwarded_for: Sequence[bytes]) -> bool:
        """Use the client's address in X-Forwarded-For if a trusted proxy has sent it.

        Returns:
            Whether that address may have one more connection.
        """
        proxies = self.acceptor.trusted_proxies
        if not isinstance(self.address, ClientOfProxy) or self.address.proxy not in proxies:
            if forwarded_for and not address_of(self.host):
                self.acceptor.log_limiter.about(
                    self,
                    "forwarded",
                    "{peer}: its X-Forwarded-For is ignored. If it is your reverse proxy, give"
                    " --trusted-proxy, or all its clients share their limits",
                )
            return True
        client = proxies.client_of(forwarded_for)
        if client is None:
            return True
        if not self.acceptor.admission.admits(client.host):
            return False
        self.address = client
        return True

    def _end_http(self, reason: Failure) -> None:
        # Without cycles the requests are freed at once.
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.connectionLost(reason)  # type: ignore[no-untyped-call]
            self.output.disown()

    @property
    def upgraded(self) -> bool:
        """Whether a WebSocket goes on with the connection."""
        return self._after is not None

    @property
    def secure(self) -> bool:
        """Whether it is HTTPS."""
        return is_tls(self.transport)

    def linger_when_drained(self) -> None:
        if self.output.empty:
            self.output.finish()
            self.linger()

    # The output's side.

    def output_taken(self) -> None:
        """Answer the next request, or continue closing: the answers are taken."""
        if self.output.backlog:
            return
        self._unsent = 0
        self._waits = False
        if self.state is ConnectionState.ENDING:
            self.linger_when_drained()
        elif self.paused:
            self._resume_later()

    def _resume_later(self) -> None:
        # Not in this turn: other connections come first.
        if not self._resuming:
            self._resuming = True
            self.acceptor.newcomers_backlog.add(self.share, self._resume)

    def _resume(self) -> None:
        self._resuming = False
        if self.reads and self._channel is not None and not self._waits:
            self.paused = self._channel.paused = False
            self.transport.resumeProducing()
            self.received(b"")
            if self._peer_done and not self._resuming:
                super().readConnectionLost()

    def output_unread(self, size: int) -> None:
        """Stop reading from a client that leaves answers untaken: it may not ask for more."""
        limit = self.acceptor.limits.answer_buffer
        if size > limit and not self._waits:
            self._wait()
            self.acceptor.rate_limiter.answers_untaken(self)

    def _pause(self) -> None:
        if self._channel is not None and self.reads:
            self.paused = self._channel.paused = True
            self.transport.pauseProducing()

    # ITransport, for twisted.web.

    @property
    def disconnecting(self) -> bool:
        """Whether no more requests are read, nor anything else."""
        return not self.reads and not self.upgraded

    def write(self, data: bytes) -> None:
        self.output.write(data)
        self._unsent += len(data)
        if self._unsent > RESPONSE_BUFFER:
            self._wait()

    def _wait(self) -> None:
        """Read no more until the client has taken all answers."""
        self._waits = True
        self._pause()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.close()

    def getPeer(self) -> Any:
        return self.address or self.transport.getPeer()

    def getHost(self) -> Any:
        return self.transport.getHost()
