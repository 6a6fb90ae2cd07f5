"""A client endpoint for the in-memory network."""

from __future__ import annotations

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from chat_protocol.testing.link import SERVER_ADDRESS, Link
from chat_protocol.testing.network import Network

__all__ = ["ConnectionAttempt", "Endpoint"]


class ConnectionAttempt:
    """One attempt to connect.

    ``deferred`` fires with the connected protocol, or fails if the attempt does.
    """

    def __init__(self, network: Network, factory: IProtocolFactory, timeout: float) -> None:
        self._network = network
        self._factory = factory
        self.deferred: Deferred[IProtocol] = Deferred(self._cancelled)
        self._timeout = network.clock.callLater(timeout, self._timed_out)
        factory.doStart()

    def refuse(self) -> None:
        """Fail with ConnectionRefusedError."""
        self._fail(error.ConnectionRefusedError())  # type: ignore[no-untyped-call]

    def accept(self, server: IProtocolFactory) -> None:
        """Connect both ends.

        If the server's factory returns no protocol, the server closes its end at once.
        """
        port = self._network.next_port()
        try:
            client = self._factory.buildProtocol(SERVER_ADDRESS)
            if client is None:
                raise error.NoProtocol()
        except Exception as reason:
            self._fail(reason)
            return
        self._timeout.cancel()
        accepted = server.buildProtocol(IPv4Address("TCP", "127.0.0.1", port))
        link = Link(self._network, client, accepted or Protocol(), port, self._factory.doStop)
        self._network.links.append(link)
        link.server.open()
        if accepted is None:
            link.server.loseConnection()  # type: ignore[no-untyped-call]
        link.client.open()
        self.deferred.callback(client)

    def _timed_out(self) -> None:
        self._network.attempts.remove(self)
        self._fail(error.TimeoutError())  # type: ignore[no-untyped-call]

    def _cancelled(self, deferred: Deferred[IProtocol]) -> None:
        self._network.attempts.remove(self)
        cancelled = error.ConnectingCancelledError(SERVER_ADDRESS)  # type: ignore[no-untyped-call]
        self._fail(cancelled)

    def _fail(self, reason: Exception) -> None:
        if self._timeout.active():
            self._timeout.cancel()
        self._factory.doStop()
        self.deferred.errback(reason)


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Connects to the listener of an in-memory network.

    Args:
        timeout: seconds after which an attempt fails with TimeoutError.
    """

    def __init__(self, network: Network, timeout: float) -> None:
        self._network = network
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; the Deferred fires with the protocol.

        It fails with ConnectionRefusedError, TimeoutError, NoProtocol, or the exception that
        ``protocolFactory`` raised.
        """
        attempt = ConnectionAttempt(self._network, protocolFactory, self._timeout)
        self._network.attempts.append(attempt)
        self._network.wake()
        return attempt.deferred
