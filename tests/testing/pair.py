"""Two ends of a connection in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.testing.endpoint import Endpoint
from chat_protocol.testing.network import Network


@implementer(IHalfCloseableProtocol)
class HalfCloser(Protocol):
    """Notes what happens to it."""

    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.pieces: list[int] = []
        self.events: list[str] = []
        self.lost: type[BaseException] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.pieces.append(len(data))

    def readConnectionLost(self) -> None:
        self.events.append("read")

    def writeConnectionLost(self) -> None:
        self.events.append("write")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost = reason.type


class Pair:
    """Two protocols that are connected."""

    def __init__(self, client: HalfCloser, server: HalfCloser) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.network.listener = Factory.forProtocol(lambda: server)  # type: ignore[arg-type]
        self.client, self.server = client, server
        connected = connectProtocol(Endpoint(self.network, 30), client)
        self.clock.advance(0)
        assert connected.result is client

    def flush(self) -> None:
        self.clock.advance(0)


def failing(deferred: Deferred[Any]) -> list[type[BaseException]]:
    """What it fails with, when it does."""
    failures: list[Any] = []

    def note(failure: Failure) -> None:
        failures.append(failure.type)

    deferred.addErrback(note)
    return failures


class Tracked(Factory):
    """A factory that counts its uses."""

    noisy = False
    uses = 0

    def __init__(self, protocol: Protocol | None) -> None:
        self.made = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return self.made

    def doStart(self) -> None:
        self.uses += 1

    def doStop(self) -> None:
        self.uses -= 1
