"""Connections that a proxy passes on: whose they are is said by the PROXY header in them.

The header comes after the connection is made, and a wrapper takes it out. Until then a connection
counts for no address, the proxy's least of all: that stands for everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.watches import Watch
from chat_protocol.transport.sockets import is_announced

if TYPE_CHECKING:
    from chat_protocol.server.factory import ChatFactory

__all__ = ["ProxiedFactory"]

_AT_ONCE = 100
"""Connections that are looked at in a look; a thousand a second."""


class _Announcements(Watch):
    """Finds those who were announced and have said nothing since: their first bytes tell of others.

    Args:
        factory: whose connections they are.
        clock: times the looks.
    """

    interval = 0.1

    def __init__(self, factory: ChatFactory, clock: IReactorTime) -> None:
        self._factory = factory
        self._unknown: dict[ChatProtocol, None] = {}
        super().__init__(clock)

    def expect(self, connection: ChatProtocol) -> None:
        """A connection whose address is not known yet."""
        self._unknown[connection] = None

    def look(self) -> None:
        """See Watch: the next few."""
        for connection in list(self._unknown)[:_AT_ONCE]:
            del self._unknown[connection]
            if not connection.awaits_address:
                continue
            if is_announced(connection.transport):
                self._factory.came_by_proxy(connection)
            else:
                self._unknown[connection] = None


class ProxiedFactory(ServerFactory):
    """A server for endpoints whose connections come by a proxy.

    Args:
        factory: the same server for all others.
        clock: times the looks at connections that say nothing.
    """

    noisy = False
    log = Logger()

    def __init__(self, factory: ChatFactory, clock: IReactorTime) -> None:
        self._factory = factory
        self._announcements = _Announcements(factory, clock)

    def startFactory(self) -> None:
        """See Factory."""
        self._factory.doStart()  # type: ignore[no-untyped-call]
        self._announcements.start().addErrback(self._failed)

    def stopFactory(self) -> None:
        """See Factory."""
        self._announcements.stop()
        self._factory.doStop()  # type: ignore[no-untyped-call]

    def _failed(self, failure: Failure) -> None:
        self.log.failure("Addresses behind a proxy are not looked for any more", failure)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """See ChatFactory; ``addr`` is the proxy's and counts for nothing."""
        protocol = self._factory.buildProtocol(None)
        if isinstance(protocol, ChatProtocol):
            protocol.awaits_address = True
            self._announcements.expect(protocol)
        return protocol
