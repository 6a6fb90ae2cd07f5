"""The two ends of a connection in memory, and what goes wrong between them.

The transports are Twisted's own for TCP, on sockets in memory: buffers, producers, half-close and
abort are as in earnest.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from chat_protocol.testing.pipe import MemorySocket, Pipe

if TYPE_CHECKING:
    from chat_protocol.testing.network import Network

__all__ = ["SERVER_ADDRESS", "Link", "Transport"]

SERVER_ADDRESS = IPv4Address("TCP", "127.0.0.1", 5555)

VANISHED_SECONDS = 60.0
"""How long a link is stalled until both ends lose it, as TCP keep-alive has it (clause S9)."""


class Transport(Connection):
    """One end of a link.

    Args:
        gone: called when the connection is lost, after the protocol was told.
    """

    logstr = "memory"

    def __init__(
        self,
        memory_socket: MemorySocket,
        protocol: IProtocol,
        network: Network,
        host: IAddress,
        peer: IAddress,
        gone: Callable[[], None],
    ) -> None:
        super().__init__(cast(socket.socket, memory_socket), protocol, network)
        self.memory_socket = memory_socket
        self._host = host
        self._peer = peer
        self._gone = gone

    def open(self) -> None:
        """Connect the protocol."""
        self.connected = 1
        self.startReading()  # type: ignore[no-untyped-call]
        self.protocol.makeConnection(self)

    def getHost(self) -> IAddress:
        """See ITransport."""
        return self._host

    def getPeer(self) -> IAddress:
        """See ITransport."""
        return self._peer

    def connectionLost(self, reason: Failure) -> None:
        """See FileDescriptor; a second time nothing happens."""
        if not self.disconnected:
            super().connectionLost(reason)
            self._gone()


class Link:
    """One connection.

    Args:
        client: the protocol of the one end.
        server: of the other.
        port: the client's.
        client_gone: called when the client's end is lost.
    """

    def __init__(
        self,
        network: Network,
        client: IProtocol,
        server: IProtocol,
        port: int,
        client_gone: Callable[[], None],
    ) -> None:
        self._network = network
        self._vanishing: IDelayedCall | None = None
        self.cut_off = False
        self.protocol = server
        """The server's."""
        self.to_server = Pipe()
        self.to_client = Pipe()

        def lost() -> None:
            client_gone()
            self._end_lost()

        wire = network.wire
        address = IPv4Address("TCP", "127.0.0.1", port)
        self.server = Transport(
            MemorySocket(wire, self.to_server, self.to_client),
            server,
            network,
            SERVER_ADDRESS,
            address,
            self._end_lost,
        )
        self.client = Transport(
            MemorySocket(wire, self.to_client, self.to_server),
            client,
            network,
            address,
            SERVER_ADDRESS,
            lost,
        )

    @property
    def ends(self) -> tuple[Transport, Transport]:
        """The server's, the client's."""
        return self.server, self.client

    def stall(self, to_server: bool, to_client: bool) -> None:
        """Let nothing through in these directions, in addition to those that are stalled."""
        self.to_server.stalled |= to_server
        self.to_client.stalled |= to_client
        if self._vanishing is None:
            self._vanishing = self._network.clock.callLater(VANISHED_SECONDS, self._vanish)

    def resume(self) -> None:
        """Let everything through."""
        self._stop_vanishing()
        self.to_server.stalled = self.to_client.stalled = False

    def cut(self) -> None:
        """Lose what is under way; both ends learn of it when the network runs next."""
        self.cut_off = True
        self._network.wake()

    def end_of_process(self) -> None:
        """The server's process is gone: what it has sent still arrives, its code runs no more."""
        self.server.protocol = Protocol()
        self.server.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]

    def _vanish(self) -> None:
        self._vanishing = None
        self.cut()

    def _stop_vanishing(self) -> None:
        if self._vanishing is not None:
            self._vanishing.cancel()
            self._vanishing = None

    def _end_lost(self) -> None:
        if all(end.disconnected for end in self.ends):
            self._stop_vanishing()
            self._network.links.remove(self)
