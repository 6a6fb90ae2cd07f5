"""The simplest client: what is sent and what came, as commands."""

from __future__ import annotations

from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from chat_protocol.testing import MemoryServer
from chat_protocol.transport.framing import FrameReceiver
from chat_protocol.wire.codec import decode, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Deliver,
    Login2,
    LoginAnswer,
    Publish,
    Response2,
    Scope,
    StoredMessage,
)


class User(FrameReceiver):
    transport: Any

    def __init__(self) -> None:
        self.came: list[Any] = []
        self.lost: Failure | None = None
        self.pieces: list[int] = []
        self._ids = count(1)

    def send(self, *commands: Any, version: int | None = None) -> None:
        for command in commands:
            self.transport.write(encode(command, next(self._ids), version))

    def publish(self, text: str, *to: str, id_: int = 0) -> None:
        self.send(Publish(id_, text, Scope.USERS, to, 5))

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(len(data))
        super().dataReceived(data)

    def stringReceived(self, string: bytes) -> None:
        self.came.append(decode(string)[1])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason

    def take(self) -> list[Any]:
        came, self.came = self.came, []
        return came


def connecting(server: MemoryServer | IStreamClientEndpoint) -> Deferred[User]:
    endpoint = server.endpoint() if isinstance(server, MemoryServer) else server
    connected: Deferred[User] = connectProtocol(endpoint, User())
    return connected


def log_in(server: MemoryServer, name: str, **properties: str) -> User:
    """On-line, its mailbox not yet looked at."""
    user = server.run(connecting(server))
    user.send(Login2(name, properties))
    server.flush()
    answer = user.came.pop(0)
    assert isinstance(answer, LoginAnswer)
    assert answer.code == Code.OK, answer
    return user


OK = Response2(Code.OK)


def stored(offset: int, text: str, sender: str = "alice", to: str = "bob") -> StoredMessage:
    return StoredMessage(offset, text, sender, Scope.USERS, (to,), 5)


def delivered(offset: int, text: str, sender: str = "alice", to: str = "bob") -> Deliver:
    return Deliver(offset, text, sender, Scope.USERS, (to,), 5)
