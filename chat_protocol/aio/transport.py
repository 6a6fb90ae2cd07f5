"""A Twisted transport over one of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from twisted.internet.interfaces import IAddress, IPushProducer, ITransport
from zope.interface import implementer

__all__ = ["LoopTransport"]


@implementer(ITransport, IPushProducer)
class LoopTransport:
    """Pass on what a Twisted protocol writes, once per turn of the event loop.

    The client bounds what it has in flight, so it needs no producer for its output.

    Args:
        transport: the connection.
        loop: its event loop.
        peer: address of the other end.
        host: address of this end.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        peer: IAddress,
        host: IAddress,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._peer = peer
        self._host = host
        self._pending: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close the connection once everything is written."""
        self._flush()
        self._transport.close()

    def abortConnection(self) -> None:
        """Close the connection now."""
        self._transport.abort()

    def getPeer(self) -> IAddress:
        return self._peer

    def getHost(self) -> IAddress:
        return self._host

    def pauseProducing(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if pending and not self._transport.is_closing():
            self._transport.write(b"".join(pending))
