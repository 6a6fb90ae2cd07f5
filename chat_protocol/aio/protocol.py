"""An asyncio protocol that passes its connection on to a Twisted protocol."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, NoProtocol
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from chat_protocol.aio.transport import LoopTransport
from chat_protocol.transport.keepalive import keep_socket_alive

__all__ = ["LoopProtocol"]


class LoopProtocol(asyncio.Protocol):
    """Build a Twisted protocol when the connection is there, and call it.

    Args:
        factory: builds the protocol.
        connected: fires with the protocol. If it was canceled, the connection is aborted.
        loop: the event loop.
    """

    def __init__(
        self,
        factory: IProtocolFactory,
        connected: Deferred[IProtocol],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._factory = factory
        self._connected = connected
        self._loop = loop
        self._protocol: IProtocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        if self._connected.called:
            transport.abort()
            return
        handle = transport.get_extra_info("socket")
        if handle is not None and handle.family != socket.AF_UNIX:
            keep_socket_alive(handle)
        peer = _address(transport.get_extra_info("peername"))
        host = _address(transport.get_extra_info("sockname"))
        try:
            protocol = self._factory.buildProtocol(peer)
            if protocol is None:
                raise NoProtocol
        except Exception as error:
            transport.abort()
            self._connected.errback(error)
            return
        self._protocol = protocol
        protocol.makeConnection(LoopTransport(transport, self._loop, peer, host))
        self._connected.callback(protocol)

    def data_received(self, data: bytes) -> None:
        if self._protocol is not None:
            self._protocol.dataReceived(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._protocol is not None:
            why = ConnectionDone() if exc is None else ConnectionLost(str(exc))
            self._protocol.connectionLost(Failure(why))  # type: ignore[no-untyped-call]
            self._protocol = None


def _address(name: Any) -> IAddress:
    if isinstance(name, tuple):
        kind = IPv4Address if len(name) == 2 else IPv6Address
        return kind("TCP", *name[:2])
    return UNIXAddress(name or None)
