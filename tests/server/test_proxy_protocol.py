"""Behind a proxy: each connection counts for the address that its PROXY header names."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.tcp import Connection
from twisted.logger import capturedLogs
from twisted.protocols.haproxy import proxyEndpoint
from twisted.python.failure import Failure

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.rates import Rate
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.proxy_protocol import ProxiedFactory
from chat_protocol.server.rejected import TARPIT_SECONDS
from tests.server.line import Server, login
from tests.transport.test_output import FakeReactor

PROXY = IPv4Address("TCP", "192.0.2.9", 4000)


def header(host: str) -> bytes:
    return f"PROXY TCP4 {host} 192.0.2.9 4000 5555\r\n".encode()


class Endpoint:
    """Keeps the factory that it is to listen with."""

    def listen(self, factory: object) -> None:
        self.factory = factory


class Proxied:
    """A server, and a proxy that connects to it."""

    def __init__(self, limits: Limits) -> None:
        self.server = Server(limits=limits)
        endpoint = Endpoint()
        factory = ProxiedFactory(self.server.factory, self.server.clock)
        proxyEndpoint(endpoint).listen(factory)  # type: ignore[arg-type]
        self.factory = endpoint.factory
        self.factory.doStart()  # type: ignore[attr-defined]
        self.lines: list[Line] = []

    def connect(self, said: bytes = b"") -> Line:
        line = Line(self)
        self.lines.append(line)
        if said:
            line.send(said)
        return line

    def wait(self, seconds: float = 1) -> None:
        self.server.clock.pump([0.1] * round(10 * seconds))
        for line in self.lines:
            line.reactor.clock.advance(0)


class Line:
    """A connection of the proxy's."""

    def __init__(self, proxied: Proxied) -> None:
        self.server = proxied.server
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.theirs.settimeout(2)
        protocol = proxied.factory.buildProtocol(PROXY)  # type: ignore[attr-defined]
        self.reactor = FakeReactor()
        self.transport = Connection(ours, protocol, self.reactor)  # type: ignore[arg-type]
        self.transport.connected = 1
        self.transport.getPeer = lambda: PROXY  # type: ignore[method-assign]
        protocol.makeConnection(self.transport)
        self._write()

    def send(self, data: bytes) -> None:
        self.theirs.sendall(data)
        why = self.transport.doRead()
        assert why is None
        self.server.turn()
        self._write()

    def _write(self) -> None:
        while self.reactor.writers:
            why = self.transport.doWrite()
            if why is not None:
                self.transport.connectionLost(Failure(why))  # type: ignore[no-untyped-call]

    @property
    def open(self) -> bool:
        return not self.transport.disconnected

    def close(self) -> None:
        self.theirs.close()
        if self.open:
            self.transport.connectionLost(Failure(ConnectionError()))  # type: ignore[no-untyped-call]


@pytest.fixture
def limits(request: pytest.FixtureRequest) -> Limits:
    found: Limits = request.param
    return found


@pytest.fixture
def proxied(limits: Limits) -> Iterator[Proxied]:
    made = Proxied(limits)
    yield made
    for line in made.lines:
        line.close()
    made.factory.doStop()  # type: ignore[attr-defined]
    made.server.turn()
    assert made.server.factory.connections == set()
    assert made.server.clock.getDelayedCalls() == []


def hosts(proxied: Proxied) -> list[str]:
    return sorted(one.counted_for for one in proxied.server.factory.connections)


@pytest.mark.parametrize("limits", [Limits(connections_per_address=2)], indirect=True)
def test_silent_connections_count_for_who_made_them(proxied: Proxied) -> None:
    silent = [proxied.connect(header("203.0.113.66")) for _ in range(3)]
    unannounced = [proxied.connect() for _ in range(3)]
    assert hosts(proxied) == [""] * 6
    proxied.wait(0.2)
    assert hosts(proxied) == [""] * 3 + ["203.0.113.66"] * 3
    proxied.wait(TARPIT_SECONDS + 0.2)
    assert [line.open for line in silent] == [True, True, False]
    assert all(line.open for line in unannounced)
    assert proxied.server.factory.counters.limits == {"connections_per_address": 1}
    other = proxied.connect(header("198.51.100.1") + login("bob"))
    assert other.theirs.recv(100)
    assert hosts(proxied) == [""] * 3 + ["198.51.100.1"] + ["203.0.113.66"] * 2


@pytest.mark.parametrize("limits", [Limits(connections_per_address=1)], indirect=True)
def test_the_first_bytes_tell_at_once(proxied: Proxied) -> None:
    proxied.connect(header("203.0.113.66") + login("alice"))
    second = proxied.connect(header("203.0.113.66") + login("bob"))
    proxied.connect(header("198.51.100.1") + login("carol"))
    assert [user.name for user in proxied.server.factory.directory.online] == ["alice", "carol"]
    proxied.wait(TARPIT_SECONDS + 0.2)
    assert not second.open


@pytest.mark.parametrize("limits", [Limits(connection_rate_per_address=Rate(1, 2))], indirect=True)
def test_the_proxy_may_connect_as_often_as_its_users(proxied: Proxied) -> None:
    lines = [proxied.connect(header(f"203.0.113.{n}") + login(f"u{n}")) for n in range(5)]
    assert len(proxied.server.factory.directory.online) == 5
    again = [proxied.connect(header("203.0.113.0")) for _ in range(2)]
    proxied.wait(TARPIT_SECONDS + 0.2)
    assert all(line.open for line in lines)
    # One more comes back in a second.
    assert [line.open for line in again] == [True, False]


@pytest.mark.parametrize("limits", [Limits(connections=2)], indirect=True)
def test_one_too_many_is_closed_at_once(proxied: Proxied) -> None:
    lines = [proxied.connect() for _ in range(3)]
    assert [line.open for line in lines] == [True, True, False]
    assert lines[2].theirs.recv(100) == b""


@pytest.mark.parametrize("limits", [Limits()], indirect=True)
def test_who_leaves_before_being_announced_is_forgotten(proxied: Proxied) -> None:
    proxied.connect().close()
    proxied.connect(header("203.0.113.66")).close()
    proxied.wait()
    assert hosts(proxied) == []


@pytest.mark.parametrize("limits", [Limits()], indirect=True)
def test_all_of_them_are_looked_at(proxied: Proxied) -> None:
    for _ in range(150):
        proxied.connect()
    late = proxied.connect(header("203.0.113.66"))
    proxied.wait(0.4)
    assert hosts(proxied)[-1] == "203.0.113.66"
    assert late.open
    assert all(isinstance(one, ChatProtocol) for one in proxied.server.factory.connections)


@pytest.mark.parametrize("limits", [Limits()], indirect=True)
def test_it_says_that_there_is_no_header(proxied: Proxied) -> None:
    with capturedLogs() as events:
        assert not proxied.connect(login("alice")).open
        proxied.connect(header("203.0.113.66")).close()
        proxied.connect().close()
        proxied.connect()
        proxied.server.factory.shut_down()
        proxied.wait()
    (event,) = [one for one in events if "why" in one]
    assert "without a PROXY header" in event["why"]
