"""A client on a transport in memory, with the server's end in the hands of the test."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from chat_protocol.client.api import Client
from chat_protocol.client.connection import Connection

from . import frames

T = TypeVar("T")

NOW = 1_700_000_000_123_456_789


class Line:
    """Both ends of a connection that is up."""

    def __init__(self, max_unread: int = 10_000, login: str | None = "alice") -> None:
        self.clock = Clock()
        self.transport = StringTransport()
        self.connection = Connection(self.clock, timeout=10.0, max_unread=max_unread)
        self.client = Client(self.connection, lambda: NOW)
        self.connection.makeConnection(self.transport)
        if login is not None:
            logged_in = self.client.login(login)
            self.push(frames.response(self.sent()[0].correlation_id))
            result(logged_in)

    def written(self) -> bytes:
        data: bytes = self.transport.value()
        return data

    def sent(self) -> list[frames.Frame]:
        """What the client has written since the last call; always whole frames."""
        whole, rest = frames.split(self.written())
        assert rest == b""
        self.transport.clear()
        return whole

    def push(self, data: bytes) -> None:
        """Bytes from the server."""
        self.connection.dataReceived(data)

    def lose(self, reason: Exception | None = None) -> None:
        """The connection ends."""
        self.connection.connectionLost(Failure(reason or ConnectionDone()))

    @property
    def reading(self) -> bool:
        return self.transport.producerState == "producing"


def result(deferred: Deferred[T]) -> T:
    """What a Deferred has fired with; raises what it failed with."""
    found: list[T | Failure] = []
    deferred.addBoth(found.append)
    assert found, "the Deferred has not fired"
    value = found[0]
    if isinstance(value, Failure):
        error = value.value
        assert error is not None
        raise error
    return value
