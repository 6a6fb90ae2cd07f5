"""The least client that keeps its half of the promise: it resends, acknowledges and forgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.protocol.framing import FrameReceiver
from chat_protocol.wire.codec import decode, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import (
    Ack,
    Deliver,
    Heartbeat,
    Login2,
    LoginAnswer,
    Publish,
    Response2,
    Scope,
)

HEARTBEAT = 2
WINDOW = 50


@implementer(IHalfCloseableProtocol)
class _Connection(FrameReceiver):
    MAX_LENGTH = 1 << 20

    def __init__(self, owner: PromiseClient) -> None:
        self.owner = owner
        self._publishing_ids: dict[int, int] = {}
        self._requests = 1
        self._timer: Any = None
        self._heard = 0.0

    def connectionMade(self) -> None:
        owner = self.owner
        properties = {"heartbeat": str(HEARTBEAT), "window": str(WINDOW), "session": owner.token}
        self._heard = owner.clock.seconds()
        self._write(encode(Login2(owner.username, properties), 1))
        self._beat()

    def _write(self, frame: bytes) -> None:
        transport: Any = self.transport
        transport.write(frame)

    def _beat(self) -> None:
        clock = self.owner.clock
        if clock.seconds() - self._heard > 2 * HEARTBEAT:
            transport: Any = self.transport
            transport.abortConnection()
            return
        self._timer = clock.callLater(HEARTBEAT / 2, self._beat)
        if self.owner.connection is self:
            self._write(encode(Heartbeat(), 0xFFFFFFFF))

    def stringReceived(self, string: bytes) -> None:
        owner = self.owner
        self._heard = owner.clock.seconds()
        header, command = decode(string)
        if isinstance(command, LoginAnswer):
            if command.code != Code.OK:
                self._lose()
                return
            owner.token = command.properties["session"]
            owner.connection = self
            for publication, _ in owner.unanswered.values():
                self.publish(publication)
        elif isinstance(command, Response2):
            owner.answered(self._publishing_ids.pop(header.correlation_id, 0), command)
        elif isinstance(command, Deliver):
            owner.arrived(command)
            self._write(encode(Ack(command.offset)))

    def publish(self, publication: Publish) -> None:
        self._requests += 1
        self._publishing_ids[self._requests] = publication.publishing_id
        self._write(encode(publication, self._requests))

    def _lose(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()

    def readConnectionLost(self) -> None:
        self._lose()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self.owner.connection is self:
            self.owner.connection = None


class PromiseClient(ClientService):
    """A user who sends and receives, whatever happens to the connection.

    ``send`` and ``send_to_all`` fire when the server has stored the message.
    """

    def __init__(
        self,
        endpoint: Any,
        reactor: Any,
        username: str,
        random: Random,
        on_message: Callable[[Deliver], None],
    ) -> None:
        factory = Factory.forProtocol(lambda: _Connection(self))  # type: ignore[arg-type]
        factory.noisy = False
        super().__init__(endpoint, factory, lambda _: random.uniform(0.05, 0.4), reactor)
        self.clock = reactor
        self.username = username
        self.token = ""
        self.connection: _Connection | None = None
        self.unanswered: dict[int, tuple[Publish, Deferred[None]]] = {}
        self._on_message = on_message
        self._last_id = 0
        self._last_offset = 0

    def send(self, to: str | Sequence[str], text: str) -> Deferred[None]:
        return self._send(Scope.USERS, (to,) if isinstance(to, str) else tuple(to), text)

    def send_to_all(self, text: str) -> Deferred[None]:
        return self._send(Scope.EVERYONE, (), text)

    def _send(self, scope: int, to: tuple[str, ...], text: str) -> Deferred[None]:
        self._last_id += 1
        publication = Publish(self._last_id, text, scope, to, 0)
        stored: Deferred[None] = Deferred()
        self.unanswered[self._last_id] = publication, stored
        if self.connection is not None:
            self.connection.publish(publication)
        return stored

    def answered(self, publishing_id: int, answer: Response2) -> None:
        if publishing_id in self.unanswered:
            _, stored = self.unanswered.pop(publishing_id)
            if answer.code == Code.OK:
                stored.callback(None)
            else:
                stored.errback(RuntimeError(f"{answer.code}: {answer.detail}"))

    def arrived(self, message: Deliver) -> None:
        if message.offset > self._last_offset:
            self._last_offset = message.offset
            self._on_message(message)
