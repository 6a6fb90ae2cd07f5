"""An in-memory connection: its two ends, and the faults that a test can cause.

The ends are Twisted's TCP transports on in-memory sockets, so that buffers, producers, half-close
and abort work as in production.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast
from typing import Protocol as TypingProtocol

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from chat_protocol.testing.pipe import MemorySocket, Pipe, PipeSettings

__all__ = ["SERVER_ADDRESS", "Link", "Transport"]

SERVER_ADDRESS = IPv4Address("TCP", "127.0.0.1", 5555)

KEEPALIVE_SECONDS = 60.0
"""Seconds after which both ends lose a stalled link, as by TCP keep-alive (clause S9)."""


class LinkNetwork(TypingProtocol):
    """What a link needs of its network."""

    clock: IReactorTime
    links: list[Link]
    pipe_settings: PipeSettings

    def wake(self) -> None:
        """Run the network in the next turn of the clock."""


class Transport(Connection):
    """One end of a link.

    Args:
        on_lost: called after ``connectionLost`` of the protocol.
    """

    logstr = "memory"

    def __init__(
        self,
        memory_socket: MemorySocket,
        protocol: IProtocol,
        reactor: Any,
        host: IAddress,
        peer: IAddress,
        on_lost: Callable[[], None],
    ) -> None:
        super().__init__(cast(socket.socket, memory_socket), protocol, reactor)
        self.memory_socket = memory_socket
        self._host = host
        self._peer = peer
        self._on_lost = on_lost

    def open(self) -> None:
        """Connect the protocol."""
        self.connected = 1
        self.startReading()  # type: ignore[no-untyped-call]
        self.protocol.makeConnection(self)

    def getHost(self) -> IAddress:
        return self._host

    def getPeer(self) -> IAddress:
        return self._peer

    def connectionLost(self, reason: Failure) -> None:
        """Report the loss of the connection, once."""
        if not self.disconnected:
            super().connectionLost(reason)
            self._on_lost()


class Link:
    """One connection between a client and the server.

    Args:
        client: the protocol of the client's end.
        server: the protocol of the server's end.
        port: the port number of the client's end.
        on_client_lost: called when the client's end is lost.
    """

    def __init__(
        self,
        network: LinkNetwork,
        client: IProtocol,
        server: IProtocol,
        port: int,
        on_client_lost: Callable[[], None],
    ) -> None:
        self._network = network
        self._keepalive: IDelayedCall | None = None
        self.cut_off = False
        self.to_server = Pipe()
        self.to_client = Pipe()

        def lost() -> None:
            on_client_lost()
            self._end_lost()

        settings = network.pipe_settings
        address = IPv4Address("TCP", "127.0.0.1", port)
        self.server = Transport(
            MemorySocket(settings, self.to_server, self.to_client),
            server,
            network,
            SERVER_ADDRESS,
            address,
            self._end_lost,
        )
        self.client = Transport(
            MemorySocket(settings, self.to_client, self.to_server),
            client,
            network,
            address,
            SERVER_ADDRESS,
            lost,
        )

    @property
    def ends(self) -> tuple[Transport, Transport]:
        """The server's end and the client's end."""
        return self.server, self.client

    def stall(self, to_server: bool, to_client: bool) -> None:
        """Stop transferring bytes in these directions; stalled directions stay stalled."""
        self.to_server.stalled |= to_server
        self.to_client.stalled |= to_client
        if self._keepalive is None:
            call_later = self._network.clock.callLater
            self._keepalive = call_later(KEEPALIVE_SECONDS, self._keepalive_expired)

    def resume(self) -> None:
        """Transfer bytes in both directions."""
        self._stop_keepalive()
        self.to_server.stalled = self.to_client.stalled = False

    def cut(self) -> None:
        """Break the connection; the bytes in flight are lost.

        Both ends get ConnectionLost the next time that the network runs.
        """
        self.cut_off = True
        self._network.wake()

    def end_of_process(self) -> None:
        """Close the server's end as the kernel does for a killed process.

        The client receives the bytes that the server has sent. The server's protocol is not called
        again.
        """
        self.server.protocol = Protocol()
        self.server.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]

    def _keepalive_expired(self) -> None:
        self._keepalive = None
        self.cut()

    def _stop_keepalive(self) -> None:
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None

    def _end_lost(self) -> None:
        if all(end.disconnected for end in self.ends):
            self._stop_keepalive()
            self._network.links.remove(self)
