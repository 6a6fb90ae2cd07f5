"""Admission of connections: which ones a server accepts, and how it rejects the others."""

from __future__ import annotations

from collections.abc import Sized

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol

from chat_protocol.domain.limits import Limits
from chat_protocol.server.addresses import Addresses
from chat_protocol.server.peer import Connection
from chat_protocol.server.rate_limiter import RateLimiter
from chat_protocol.server.rejected import ClosedAtOnce, ClosedLater, RejectedConnections

__all__ = ["Admission"]


class Admission:
    """Decides which new connections a server accepts.

    Args:
        limits: ``connections`` and ``connections_per_address`` are used.
        connections: all connections of the server.
        addresses: how many connections each address has.
        rate_limiter: limits the new connections of each address per second.
        clock: times the closing of rejected connections.
    """

    def __init__(
        self,
        limits: Limits,
        connections: Sized,
        addresses: Addresses,
        rate_limiter: RateLimiter,
        clock: IReactorTime,
    ) -> None:
        self._limits = limits
        self._connections = connections
        self._addresses = addresses
        self._rate_limiter = rate_limiter
        self._rejected = RejectedConnections(clock)

    def reject(self, host: str) -> Protocol | None:
        """Return a protocol that rejects a new connection of an address; None: it is accepted."""
        rejected = self.reject_if_full(host)
        if rejected is not None:
            return rejected
        if self._has_too_many(host):
            return ClosedAtOnce()
        if not self._rate_limiter.accepts(host):
            return ClosedLater(self._rejected)
        return None

    def reject_if_full(self, host: str) -> Protocol | None:
        """Return a protocol that rejects a new connection if the server has too many, or None."""
        limit = self._limits.connections
        if not limit or len(self._connections) < limit:
            return None
        self._rate_limiter.met(
            "connections",
            host or "a client",
            "refused, {value} connections are open (--max-connections)",
            value=limit,
        )
        return ClosedAtOnce()

    def admits(self, host: str) -> bool:
        """Return whether an address may have one more connection now."""
        return not self._has_too_many(host) and self._rate_limiter.accepts(host)

    def close_later(self, connection: Connection) -> None:
        """Close a rejected connection after REJECTED_SECONDS."""
        self._rejected.close_later(connection.cut_off)

    def close_rejected(self) -> None:
        """Close all rejected connections now."""
        self._rejected.close_all()

    def _has_too_many(self, host: str) -> bool:
        per_address = self._limits.connections_per_address
        if not per_address or not host or self._addresses[host] < per_address:
            return False
        self._rate_limiter.met(
            "connections_per_address",
            host,
            "refused, it has {value} connections (--max-connections-per-address)",
            value=per_address,
        )
        return True
