"""Connections to a server in the same process: for a bot that lives beside it."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from chat_protocol.service.server import ChatService

__all__ = ["LocalEndpoint"]


@implementer(IStreamClientEndpoint)
class LocalEndpoint:
    """Connects to a ChatService of this process by a pair of sockets: nothing listens for it.

    Pass it to ChatClient. While the service does not serve, attempts fail, and the client tries
    again. The server takes the connection for one of the machine itself, as on a UNIX socket.

    Args:
        service: to connect to.
        reactor: provides IReactorSocket.
    """

    def __init__(self, service: ChatService, reactor: Any) -> None:
        self._service = service
        self._reactor = reactor

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint."""
        server = self._service.factory
        if server is None:
            return fail(_error("the server of this process is not running"))
        connected: Deferred[IProtocol] = Deferred()
        factories = server, _Reporting(protocolFactory, connected)
        for end, factory in zip(socket.socketpair(), factories, strict=True):
            with end:
                end.setblocking(False)
                self._reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)
        return connected


class _Reporting(Factory):
    """Makes one protocol of a factory, and says so when it is connected."""

    noisy = False

    def __init__(self, factory: IProtocolFactory, connected: Deferred[IProtocol]) -> None:
        self._factory = factory
        self._connected = connected

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        factory: Any = self._factory
        protocol: Any = factory.buildProtocol(addr)
        if protocol is None:
            self._connected.errback(_error("the factory made no protocol"))
            return None
        self._connected.callback(protocol)
        return protocol  # type: ignore[no-any-return]


def _error(text: str) -> ConnectError:
    return ConnectError(string=text)  # type: ignore[no-untyped-call]
