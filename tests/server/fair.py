"""A server with rates, and its log."""

from __future__ import annotations

from twisted.internet.address import IPv4Address

from chat_protocol.domain.limits import Limits
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Login2,
)
from tests.server.line import Peer, Server
from tests.server.line2 import Peer2


class FairServer(Server):
    """Its peers come from anywhere."""

    def connect(self, host: str = "192.0.2.1") -> Peer2:
        protocol = self.factory.buildProtocol(IPv4Address("TCP", host, 4000))
        return Peer2(self, protocol, host)

    @property
    def met(self) -> dict[str, int]:
        return self.factory.counters.limits

    def on(self, name: str) -> Peer2:
        peer = self.connect()
        answer, *_ = peer.say(Login2(name, {}))
        assert answer.code == Code.OK
        return peer

    def until(self, peer: Peer, seconds: float) -> float:
        """How long it takes until a peer is read from again."""
        waited = 0.0
        while not peer.reading:
            assert waited < seconds
            self.clock.advance(0.01)
            waited += 0.01
        return waited


def server(**limits: object) -> FairServer:
    return FairServer(limits=Limits(**limits))  # type: ignore[arg-type]
