"""Connections without a session: they have not spoken yet, or they speak HTTP."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.rates import Allowance
from chat_protocol.domain.turn import Turn
from chat_protocol.domain.users import Session
from chat_protocol.server.admission import Admission
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.lingering import LingeringClose
from chat_protocol.server.log_limiter import LogLimiter
from chat_protocol.server.peer import Connection
from chat_protocol.server.rate_limiter import UNLIMITED, RateLimiter
from chat_protocol.server.state import NEXT, ConnectionEvent, ConnectionState
from chat_protocol.server.trusted_proxies import TrustedProxies
from chat_protocol.transport.addresses import address_of, host_of, in_words
from chat_protocol.transport.backlog import Backlog
from chat_protocol.transport.epoll_reader import EpollReader, read_by
from chat_protocol.transport.sockets import (
    accept_few,
    clamp_window,
    hand_over,
    is_tls,
    set_read_size,
)
from chat_protocol.wire.codes import Code

__all__ = ["Acceptor", "SessionlessConnection"]

_READ_SIZE = 4096
"""Bytes that are read at a time from a connection without a session."""

_WINDOW = 16 * 1024
"""Bound on the receive window of a connection without a session, in bytes."""

_ACCEPTED_AT_ONCE = 8
"""Connections that a port accepts in a turn, about: each costs some 0.1 ms."""


class Acceptor(Protocol):
    """What connections without a session need of the factory that accepts them."""

    admission: Admission
    clock: IReactorTime
    limits: Limits
    log_limiter: LogLimiter
    newcomers: EpollReader | None
    newcomers_backlog: Backlog
    rate_limiter: RateLimiter
    trusted_proxies: TrustedProxies
    turn: Turn

    def chat_protocol(self) -> ChatProtocol:
        """Return a protocol to which a connection can be handed over."""

    def connected(self, connection: Connection) -> None:
        """Note a new connection."""

    def handed_over(self, before: Connection, after: Connection) -> None:
        """Note that ``after`` goes on with the connection of ``before``."""

    def disconnected(self, connection: Connection, reason: Failure) -> None:
        """Note that a connection is gone."""

    def length_out_of_bounds(self, connection: Connection, length: int, most: int) -> None:
        """Note that a connection ends for the length of a frame."""

    def too_much_before_login(self, connection: Connection, limit: str) -> None:
        """Note that a connection without a session has met a limit, and reject it."""


@implementer(IHalfCloseableProtocol)
class SessionlessConnection(TwistedProtocol):
    """A connection that cannot have a session; see Connection.

    It ends when the connection is lost, or when :meth:`hand_over` has another protocol go on.

    Args:
        acceptor: the factory.
    """

    transport: Any
    state = ConnectionState.CONNECTED
    address: Any = None
    is_secured = False
    paused = False
    session: Session | None = None
    allowance: Allowance | None = None
    budget: float = UNLIMITED
    unanswered: Collection[Deferred[Any]] = ()
    _closing: LingeringClose | None = None
    _after: Any = None
    """The protocol that the connection was handed over to."""

    def __init__(self, acceptor: Acceptor) -> None:
        self.acceptor = acceptor

    # For subclasses.

    def announce(self) -> None:
        """Note that this connection is new. It gets little of the server's time and memory."""
        transport = self.transport
        read_by(self.acceptor.newcomers, transport, self.share)
        set_read_size(transport, _READ_SIZE)
        clamp_window(transport, _WINDOW)
        accept_few(transport, _ACCEPTED_AT_ONCE)
        self.acceptor.connected(self)

    def received(self, data: bytes) -> None:
        """Override to take bytes, at least one; not called while the connection is closing."""

    def linger_when_drained(self) -> None:
        """Override to call :meth:`linger` only when the transport has taken everything."""
        self.linger()

    def linger(self) -> None:
        """Continue closing: the transport has taken everything."""
        self.step(ConnectionEvent.ANSWERED)
        assert self._closing is not None
        self._closing.linger()

    def hand_over(
        self,
        after: SessionlessConnection | ChatProtocol,
        wrapper: ProtocolWrapper | None = None,
    ) -> None:
        """Have another protocol go on with the connection.

        Args:
            after: that protocol, without a transport.
            wrapper: a wrapper of ``after`` that is to receive in its place, such as TLS.
        """
        self.step(ConnectionEvent.HANDED_OVER)
        after.transport = self.transport
        after.address, after.is_secured = self.address, self.is_secured
        # First, so that whatever fails from now on ends the connection of ``after``.
        self.acceptor.handed_over(self, after)
        self._after = after if wrapper is None else wrapper
        hand_over(self.transport, self, self._after)
        self._after.makeConnection(self.transport)

    # Twisted's side. What still arrives after a handover goes to the other protocol, because a
    # transport that is not Twisted's own cannot be told of it.

    def dataReceived(self, data: bytes) -> None:
        if self._after is not None:
            self._after.dataReceived(data)
        elif data and self.reads:
            self.received(data)

    def readConnectionLost(self) -> None:
        """Close the connection: the peer has closed its side."""
        if self._after is not None:
            after = IHalfCloseableProtocol(self._after, None)
            if after is not None:
                after.readConnectionLost()
            else:
                self.transport.loseConnection()
        elif self.reads:
            self._close(peer_done=True)
        elif self._closing is not None:
            self._closing.peer_closed()

    def writeConnectionLost(self) -> None:
        """Do nothing: the last byte is out."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._after is not None:
            after, self._after = self._after, None
            after.connectionLost(reason)
            return
        self.step(ConnectionEvent.LOST)
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        self.acceptor.disconnected(self, reason)

    # The factory's side: see Connection.

    @property
    def peer(self) -> str:
        where = in_words(self.address or self.transport.getPeer())
        return f"{where} (TLS)" if is_tls(self.transport) else where

    @property
    def whose(self) -> str:
        return self.host

    @property
    def host(self) -> str:
        return host_of(self.address or self.transport.getPeer())

    @property
    def share(self) -> Hashable:
        return address_of(self.host)

    @property
    def reads(self) -> bool:
        return self.state is ConnectionState.CONNECTED

    @property
    def refusals(self) -> Mapping[Code, int]:
        return {}

    @property
    def unfinished(self) -> object | None:
        return None

    def step(self, event: ConnectionEvent) -> None:
        """Change the state; KeyError if this event cannot happen in it."""
        self.state = NEXT[self.state, event]

    def end(self, code: Code, reason: str) -> None:
        self.close()

    def abort(self) -> None:
        if self.state is not ConnectionState.GONE:
            self.transport.abortConnection()

    def close(self) -> None:
        if self.reads:
            self._close()

    def reject(self) -> None:
        """See Peer.reject."""
        if self.reads:
            self._close(reads_on=False)

    def cut_off(self) -> None:
        if self._closing is not None:
            self._closing.cut_off()
        else:
            self.abort()

    def _close(self, peer_done: bool = False, reads_on: bool = True) -> None:
        self.step(ConnectionEvent.END)
        acceptor = self.acceptor
        self._closing = LingeringClose(
            self.transport, acceptor.limits, acceptor.clock, peer_done, reads_on
        )
        self.linger_when_drained()
