"""A client on in-memory transports; the test plays the server."""

from __future__ import annotations

import struct
from random import Random
from typing import Any, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.client import ChatClient, Event
from tests.client import frames

T = TypeVar("T")

NOW = 1_700_000_000_123_456_789


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Connection attempts that the test completes."""

    def __init__(self) -> None:
        self.attempts: list[tuple[IProtocolFactory, Deferred[IProtocol]]] = []
        self.cancelled = 0

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        attempt: Deferred[IProtocol] = Deferred(self._cancel)
        self.attempts.append((factory, attempt))
        return attempt

    def _cancel(self, attempt: Deferred[IProtocol]) -> None:
        self.cancelled += 1
        self.attempts = [one for one in self.attempts if one[1] is not attempt]

    def accept(self, transport: StringTransport) -> IProtocol:
        """Let the oldest attempt succeed."""
        factory, attempt = self.attempts.pop(0)
        protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5555))
        assert protocol is not None
        protocol.makeConnection(transport)
        attempt.callback(protocol)
        return protocol

    def refuse(self) -> None:
        """Let the oldest attempt fail."""
        self.attempts.pop(0)[1].errback(ConnectError())


class Foreseeable(Random):
    """A random source that always returns the longest time, and the same distance.

    Args:
        distance: of the first publishing id.
    """

    def __init__(self, distance: int = 0) -> None:
        super().__init__()
        self._distance = distance

    def uniform(self, a: float, b: float) -> float:
        return b

    def randrange(self, *args: int) -> int:  # type: ignore[override]
        return self._distance


class Line:
    """A started client and its current connection.

    Args:
        version: protocol version of the initial session; None: do not connect.
        granted: properties of the login answer.
        options: options of the client.
    """

    def __init__(
        self, version: int | None = 2, granted: dict[str, str] | None = None, **options: Any
    ) -> None:
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.transport = StringTransport()
        self.protocol: IProtocol | None = None
        options = {"random": Foreseeable(), "wall_clock": lambda: NOW, **options}
        self.client = ChatClient(self.endpoint, "alice", self.clock, **options)
        self.events: list[Event] = []
        self.client.add_observer(self.events.append)
        self.client.startService()
        if version is not None:
            self.connect()
            self.log_in(version, **(granted or {}))

    # The connection.

    def connect(self) -> None:
        """Let the current or next attempt succeed."""
        if not self.endpoint.attempts:
            self.wait()
        self.transport = StringTransport()
        self.protocol = self.endpoint.accept(self.transport)

    def wait(self) -> float:
        """Advance the clock to the next attempt; return the seconds passed."""
        start = self.clock.seconds()
        while not self.endpoint.attempts:
            pending = [call.getTime() for call in self.clock.getDelayedCalls()]
            self.clock.advance(min(pending) - self.clock.seconds())
        return self.clock.seconds() - start

    def log_in(self, version: int = 2, **granted: str) -> dict[str, str]:
        """Answer the Login with OK; return the properties that the client sent."""
        (frame,) = self.sent()
        assert (frame.version, frame.key) == (2, frames.LOGIN)
        name, asked = frames.properties(frame.body)
        assert name == "alice"
        if version == 1:
            self.push(frames.response(frame.correlation_id))
        else:
            properties = {name.replace("_", "-"): value for name, value in granted.items()}
            self.push(frames.login_answer(frame.correlation_id, properties=properties))
        return asked

    def refuse_login(self, code: int, detail: str = "") -> None:
        (frame,) = self.sent()
        self.push(frames.login_answer(frame.correlation_id, code, detail))

    def reconnect(self, version: int = 2, **granted: str) -> dict[str, str]:
        """Lose the connection and log in again; return the properties that the client sent."""
        self.lose(ConnectionLost())
        self.connect()
        return self.log_in(version, **granted)

    def lose(self, reason: Exception | None = None) -> None:
        """End the connection."""
        assert self.protocol is not None
        protocol, self.protocol = self.protocol, None
        protocol.connectionLost(Failure(reason or ConnectionDone()))
        self.turn()

    def turn(self) -> None:
        """Run one turn of the reactor."""
        self.clock.advance(0)

    # The bytes.

    def written(self) -> bytes:
        data: bytes = self.transport.value()
        return data

    def sent(self) -> list[frames.Frame]:
        """Return the frames written since the last call."""
        whole, rest = frames.split(self.written())
        assert rest == b""
        self.transport.clear()
        return whole

    def push(self, *data: bytes) -> None:
        """Deliver bytes from the server in one segment."""
        assert self.protocol is not None
        self.protocol.dataReceived(b"".join(data))

    def answer(self, frame: frames.Frame, code: int = frames.OK, detail: str = "") -> None:
        """Send a Response in the version of the request."""
        if frame.version == 1:
            self.push(frames.response(frame.correlation_id, code))
        else:
            self.push(frames.response_2(frame.correlation_id, code, detail))

    def published(self) -> list[tuple[int, str]]:
        """Return id and text of each Publish since the last call; allow no other frame."""
        found = []
        for frame in self.sent():
            assert frame.key == frames.PUBLISH
            publish = frames.publish(frame.body)
            found.append((publish.publishing_id, publish.text))
        return found

    def acknowledged(self) -> list[int]:
        """Return the offset of each Ack since the last call; allow no other frame."""
        found = []
        for frame in self.sent():
            assert (frame.key, frame.correlation_id) == (frames.ACK, 0)
            found.append(frames.offset(frame.body))
        return found

    def answer_all(self, code: int = frames.OK) -> None:
        for frame in self.sent():
            self.answer(frame, code)

    # State.

    @property
    def reading(self) -> bool:
        return bool(self.transport.producerState == "producing")

    @property
    def idle(self) -> bool:
        """Whether no timers and no attempts are left."""
        return not self.clock.getDelayedCalls() and not self.endpoint.attempts

    def stop(self) -> None:
        """Stop the client in any state."""
        stopping = self.client.stopService()
        if self.protocol is not None:
            self.lose()
        assert result(stopping) is None
        assert self.idle


def message_time(frame: frames.Frame) -> int:
    """Return the time of a Message."""
    (time,) = struct.unpack(">Q", frame.body[-8:])
    return int(time)


def result(deferred: Deferred[T]) -> T:
    """Return the result of a fired Deferred, or raise its error."""
    found: list[T | Failure] = []
    deferred.addBoth(found.append)
    assert found, "the Deferred has not fired"
    value = found[0]
    if isinstance(value, Failure):
        error = value.value
        assert error is not None
        raise error
    return value


def silence(*deferreds: Deferred[Any]) -> None:
    """Ignore the failures of Deferreds."""
    for deferred in deferreds:
        deferred.addErrback(lambda _: None)


def take(line: Line, count: int = 1) -> list[str]:
    return [result(line.client.receive()).text for _ in range(count)]


def send(line: Line, *texts: str) -> list[Deferred[None]]:
    return [line.client.send("bob", text) for text in texts]
