"""Stopping the client from its own callbacks, while ClientService is changing state."""

from __future__ import annotations

import pytest
from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.client import ChatClient, Ended, Event, Offline, State
from chat_protocol.errors import NotConnected, UserAlreadyLogged
from chat_protocol.wire.codec import decode_header, encode
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import LoginAnswer


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Refuse, at once or later, or answer the login with one code.

    Args:
        code: None: there is no connection.
        later: whether the attempt stays pending.
    """

    def __init__(self, code: Code | None = None, later: bool = False) -> None:
        self._code = code
        self.attempt: Deferred[IProtocol] | None = Deferred() if later else None
        self.protocol: IProtocol | None = None

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        if self.attempt is not None:
            return self.attempt
        if self._code is None:
            return fail(error.ConnectionRefusedError())
        protocol = self.protocol = factory.buildProtocol(None)  # type: ignore[arg-type]
        assert protocol is not None
        transport = StringTransport()
        protocol.makeConnection(transport)
        login = decode_header(transport.value()[4:])
        protocol.dataReceived(encode(LoginAnswer(self._code), login.correlation_id))
        return succeed(protocol)


class Run:
    """A client that is stopped as soon as it fails."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.clock = Clock()
        self.client = ChatClient(endpoint, "alice", self.clock)
        self.events: list[Event] = []
        self.client.add_observer(self.events.append)
        self.client.startService()
        self.failures: list[object] = []
        self.running = Deferred.fromCoroutine(self.run())

    async def run(self) -> None:
        try:
            await self.client.when_online(fail_after_failures=1)
        except (NotConnected, UserAlreadyLogged) as error:
            self.failures.append(type(error))
        await self.client.stopService()

    def check(self, *failures: object) -> None:
        self.clock.advance(0)
        found: list[object] = []
        self.running.addBoth(found.append)
        assert found == [None]
        assert self.failures == list(failures)
        assert self.client.state is State.STOPPED
        assert self.clock.getDelayedCalls() == []


@pytest.mark.parametrize("later", [False, True])
def test_stop_after_a_failed_attempt(later: bool) -> None:
    endpoint = Endpoint(later=later)
    run = Run(endpoint)
    if endpoint.attempt is not None:
        endpoint.attempt.errback(error.ConnectionRefusedError())
    run.check(NotConnected)
    assert [type(event) for event in run.events] == [Offline, Ended]


def test_stop_after_a_refused_login() -> None:
    endpoint = Endpoint(Code.USER_ALREADY_LOGGED)
    run = Run(endpoint)
    assert endpoint.protocol is not None
    endpoint.protocol.connectionLost(Failure(error.ConnectionDone()))
    run.check(UserAlreadyLogged)


def test_stop_from_an_observer() -> None:
    clock = Clock()
    client = ChatClient(Endpoint(), "alice", clock)
    stopped: list[Deferred[None]] = []

    def stop(event: Event) -> None:
        if isinstance(event, Offline):
            stopped.append(client.stopService())

    client.add_observer(stop)
    client.startService()
    clock.advance(0)
    assert [one.called for one in stopped] == [True]
    assert client.state is State.STOPPED


def test_a_stop_suppresses_the_offline_event() -> None:
    clock = Clock()
    client = ChatClient(Endpoint(), "alice", clock)
    events: list[Event] = []
    client.add_observer(events.append)
    client.startService()
    assert client.stopService().called
    clock.advance(0)
    assert events == [Ended(None)]
