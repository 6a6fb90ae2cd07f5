"""A server, and peers of version 2, without a reactor."""

from __future__ import annotations

from typing import Any

from chat_protocol.wire.codec import decode, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Login2,
    LoginAnswer,
    Publish,
    Response2,
)
from tests.server.line import Peer, Server

TIME = 5


class Peer2(Peer):
    """The other end of a connection that speaks any version."""

    def say(self, *commands: Any) -> list[Any]:
        """Send commands, the first with correlationId 1; what came back, without headers."""
        frames = [encode(command, n) for n, command in enumerate(commands, 1)]
        self.protocol.dataReceived(b"".join(frames))
        self.server.turn()
        return self.heard()

    def heard(self) -> list[Any]:
        data = self.transport.value()
        self.transport.clear()
        found = []
        while data:
            end = 4 + int.from_bytes(data[:4], "big")
            found.append(decode(data[4:end])[1])
            data = data[end:]
        return found


class Server2(Server):
    def connect(self) -> Peer2:
        return Peer2(self, self.factory.buildProtocol(None))

    def on(self, name: str, **properties: str) -> Peer2:
        """A version 2 session, its first answer and mailbox unread."""
        peer = self.connect()
        peer.properties = {}  # type: ignore[attr-defined]
        peer.protocol.dataReceived(encode(Login2(name, properties), 1))
        self.turn()
        answer, *rest = peer.heard()
        assert isinstance(answer, LoginAnswer)
        assert answer.code == Code.OK, answer
        peer.granted = answer.properties  # type: ignore[attr-defined]
        peer.mail = rest  # type: ignore[attr-defined]
        return peer


def publish(text: str, *to: str, id_: int = 0) -> Publish:
    return Publish(id_, text, 0 if to else 1, to, TIME)


OK = Response2(Code.OK)
