"""Connections as the rest of the server sees them, and observers of connections."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from chat_protocol.domain.rates import Allowance
from chat_protocol.domain.users import Session
from chat_protocol.server.state import ConnectionEvent, ConnectionState
from chat_protocol.transport.output import Output
from chat_protocol.wire.codes import Code

__all__ = ["Connection", "Observer", "Peer"]


class Connection(Protocol):
    """A connection, whatever it speaks."""

    transport: Any
    state: ConnectionState
    address: Any
    """The peer's address as a proxy has told it; None: the transport knows it."""
    is_secured: bool
    """Whether the connection began without TLS and has it now."""
    allowance: Allowance | None
    """Where the budget comes from; None: the budget has no limit."""
    budget: float
    """Requests that are left until the rate limiter is asked for more."""

    @property
    def session(self) -> Session | None:
        """The session. Only connections that speak the chat protocol can have one."""

    @property
    def peer(self) -> str:
        """The address, and the user if there is one: for the log."""

    @property
    def whose(self) -> str:
        """The same without the port, and so the same for all connections of a user from there."""

    @property
    def host(self) -> str:
        """The address without its port. Empty: there is none, as on a UNIX socket."""

    @property
    def share(self) -> Hashable:
        """The user, or without a session the address, that the server's time is shared by."""

    @property
    def reads(self) -> bool:
        """Whether requests are still accepted."""

    @property
    def paused(self) -> bool:
        """Whether reading from the connection is paused."""

    @property
    def refusals(self) -> Mapping[Code, int]:
        """How many requests were refused, by code."""

    @property
    def unanswered(self) -> Collection[Deferred[Any]]:
        """Requests that are not answered yet, without messages: the session counts those."""

    @property
    def unfinished(self) -> object | None:
        """What has begun to arrive and is not complete: the same object until it is."""

    def end(self, code: Code, reason: str) -> None:
        """See IConnection."""

    def abort(self) -> None:
        """See IConnection."""

    def close(self) -> None:
        """Stop reading, send the answers that are due, then end the connection."""

    def reject(self) -> None:
        """Read nothing more, send the answers that are due, and close the connection."""

    def cut_off(self) -> None:
        """End the connection now."""


class Peer(Connection, Protocol):
    """The other end of a connection that speaks the chat protocol."""

    output: Output
    session: Session | None
    correlation_tests: int
    """Unanswered CorrelationIdTests."""
    heard: float
    """When bytes last arrived, or reading resumed, in seconds of the server's clock."""
    rate_refusals: int
    """Consecutive requests that were refused because of a rate limit."""

    def step(self, event: ConnectionEvent) -> None:
        """Change the state."""

    def begin_session(self, session: Session) -> None:
        """Begin a session. The user is online from now on."""

    def waits_for(self, outcome: Deferred[Any]) -> None:
        """Note that a request will be answered when ``outcome`` fires."""

    def waits_no_more(self, outcome: Deferred[Any]) -> None:
        """Note that it is answered."""

    def answer(self, frame: bytes) -> None:
        """Send an answer. Nothing is sent on a connection that is gone."""

    def refused(self, code: Code, count: int, detail: str = "") -> None:
        """See IConnection."""

    def pause(self, cause: object) -> None:
        """See IConnection."""

    def resume(self, cause: object) -> None:
        """See IConnection."""


class Observer:
    """Is told when connections and sessions begin and end. The factory has a list of observers."""

    def connected(self, connection: Connection) -> None:
        """Note a new connection."""

    def handed_over(self, before: Connection, after: Connection) -> None:
        """Note that the connection of ``before`` was handed over to ``after``."""

    def logged_in(self, peer: Peer, session: Session) -> None:
        """Note that a session has begun."""

    def not_authenticated(self, peer: Peer, name: str) -> None:
        """Note that a login has not shown that it is the user."""

    def logged_out(self, peer: Peer, session: Session, why: str) -> None:
        """Note that a session has ended. ``why`` is empty if the client ended it."""

    def disconnected(self, connection: Connection) -> None:
        """Note that a connection is gone."""
