"""A TCP proxy that cuts, stalls and half-closes what goes through it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

_PUBLISH = 0x0102


@implementer(IHalfCloseableProtocol)
class _Side(Protocol):
    """One end; what it reads goes to the other."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.other: _Side | None = None

    def connectionMade(self) -> None:
        self.link.made(self)

    def dataReceived(self, data: bytes) -> None:
        self.link.forward(self, data)

    def readConnectionLost(self) -> None:
        self.link.finished(self)

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.link.cut()


class Link:
    """A client's connection and the server's behind it."""

    def __init__(self, proxy: ChaosProxy) -> None:
        self.proxy = proxy
        self.client = _Side(self)
        self.server: _Side | None = None
        self.waiting = b""
        self.frames = b""
        self.is_cut = False

    def made(self, side: _Side) -> None:
        if side is self.client:
            self.proxy.links.add(self)
            self.proxy.dial(self)
        elif self.is_cut:
            side.transport.abortConnection()  # type: ignore[union-attr]
        else:
            self.server = side
            side.transport.write(self.waiting)  # type: ignore[union-attr]

    def forward(self, side: _Side, data: bytes) -> None:
        if side is not self.client:
            if self.proxy.swallowing:
                self.proxy.swallowed += len(data)
                return
            self.client.transport.write(data)  # type: ignore[union-attr]
            return
        if self.proxy.without_ids:
            data = self._without_ids(data)
        if self.server is None:
            self.waiting += data
        else:
            self.server.transport.write(data)  # type: ignore[union-attr]

    def _without_ids(self, data: bytes) -> bytes:
        """The same frames, with publishing ids of 0: no deduplication."""
        self.frames += data
        out = b""
        while len(self.frames) >= 4:
            end = 4 + int.from_bytes(self.frames[:4], "big")
            if len(self.frames) < end:
                break
            frame, self.frames = self.frames[:end], self.frames[end:]
            if struct.unpack_from(">H", frame, 5) == (_PUBLISH,):
                frame = frame[:11] + bytes(8) + frame[19:]
            out += frame
        return out

    def finished(self, side: _Side) -> None:
        """One end has said its last: the other is told so."""
        other: Any = self.server if side is self.client else self.client
        if other is not None and other.transport is not None:
            other.transport.loseWriteConnection()

    def sides(self) -> list[Any]:
        return [side for side in (self.client, self.server) if side is not None]

    def cut(self) -> None:
        self.is_cut = True
        self.proxy.links.discard(self)
        for side in self.sides():
            side.transport.abortConnection()


class ChaosProxy(Factory):
    """Accepts for a server that may not be there, and does harm at random.

    Args:
        reactor: connects and times.
        servers: where the connections go, each to one at random.
        random: decides.
        without_ids: takes the publishing ids out of what clients send.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[IStreamClientEndpoint],
        random: Random,
        without_ids: bool = False,
    ) -> None:
        self._reactor = reactor
        self._servers = servers
        self._random = random
        self.without_ids = without_ids
        self.swallowing = False
        """Whether what servers send goes nowhere."""
        self.swallowed = 0
        """Bytes of that."""
        self.links: set[Link] = set()
        self.harm: dict[str, int] = {"cut": 0, "stall": 0, "half-close": 0}

    def buildProtocol(self, addr: object) -> Any:
        return Link(self).client

    def dial(self, link: Link) -> None:
        factory = Factory.forProtocol(lambda: _Side(link))  # type: ignore[arg-type]
        factory.noisy = False
        self._random.choice(self._servers).connect(factory).addErrback(lambda _: link.cut())

    def do_harm(self) -> None:
        """Something to one connection."""
        if not self.links:
            return
        link = self._random.choice(sorted(self.links, key=id))
        what = self._random.choice(list(self.harm))
        self.harm[what] += 1
        if what == "cut":
            link.cut()
        elif what == "half-close":
            side = self._random.choice(link.sides())
            side.transport.loseWriteConnection()
        else:
            for side in link.sides():
                side.transport.pauseProducing()
            self._reactor.callLater(self._random.uniform(0.1, 1.5), self._go_on, link)

    def _go_on(self, link: Link) -> None:
        if not link.is_cut:
            for side in link.sides():
                side.transport.resumeProducing()

    def stop(self) -> None:
        """Cut everything."""
        for link in list(self.links):
            link.cut()
