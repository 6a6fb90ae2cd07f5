"""Behind a proxy: each connection counts for the address that its PROXY header names."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.tcp import Connection
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from chat_protocol.domain.limits import Limits
from chat_protocol.domain.rates import Rate
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.first_bytes import FirstBytes
from chat_protocol.server.proxy_protocol import BadHeader, ProxiedFactory, ProxyHeader, read_header
from chat_protocol.server.rejected import REJECTED_SECONDS, ClosedAtOnce
from chat_protocol.server.trusted_proxies import TrustedProxies
from chat_protocol.transport.output import DirectOutput
from tests.server.line import Server, login
from tests.transport.test_output import FakeReactor

PROXY = IPv4Address("TCP", "192.0.2.9", 4000)
TCP4 = bytes([203, 0, 113, 66, 192, 0, 2, 9]) + struct.pack(">HH", 4000, 5555)
TCP6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\1" + bytes(16) + struct.pack(">HH", 4000, 5555)


def header(host: str) -> bytes:
    return f"PROXY TCP4 {host} 192.0.2.9 4000 5555\r\n".encode()


def version_2(addresses: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    fixed = struct.pack(">12sBBH", b"\r\n\r\n\0\r\nQUIT\n", command, family, len(addresses))
    return fixed + addresses


class Proxied:
    """A server, and a proxy that connects to it."""

    def __init__(self, limits: Limits) -> None:
        self.server = Server(limits=limits)
        self.server.factory.trusted_proxies = TrustedProxies(["192.0.2.9"])
        self.factory = ProxiedFactory(self.server.factory)
        self.factory.doStart()
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
        protocol = proxied.factory.buildProtocol(PROXY)
        self.reactor = FakeReactor()
        self.transport = Connection(ours, protocol, self.reactor)  # type: ignore[arg-type]
        self.transport.connected = 1
        self.transport.getPeer = lambda: PROXY  # type: ignore[method-assign]
        self.transport.startReading()  # type: ignore[no-untyped-call]
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
    made.factory.doStop()
    made.server.turn()
    assert made.server.factory.connections == set()
    assert made.server.clock.getDelayedCalls() == []


def hosts(proxied: Proxied) -> list[str]:
    return sorted(one.host for one in proxied.server.factory.connections)


@pytest.mark.parametrize("limits", [Limits(connections_per_address=2)], indirect=True)
def test_silent_connections_count_for_who_made_them(proxied: Proxied) -> None:
    unannounced = [proxied.connect() for _ in range(3)]
    assert hosts(proxied) == [""] * 3
    silent = [proxied.connect(header("203.0.113.66")) for _ in range(3)]
    assert hosts(proxied) == [""] * 3 + ["203.0.113.66"] * 3
    proxied.wait(REJECTED_SECONDS - 0.1)
    assert all(line.open for line in silent)
    proxied.wait(0.3)
    assert [line.open for line in silent] == [True, True, False]
    assert all(line.open for line in unannounced)
    assert proxied.server.factory.counters.limits == {"connections_per_address": 1}
    other = proxied.connect(header("198.51.100.1") + login("bob"))
    assert other.theirs.recv(100)
    assert hosts(proxied) == [""] * 3 + ["198.51.100.1"] + ["203.0.113.66"] * 2
    silent[0].close()
    again = proxied.connect(header("203.0.113.66") + login("carol"))
    assert again.theirs.recv(100)


@pytest.mark.parametrize("limits", [Limits(connections_per_address=1)], indirect=True)
def test_what_a_rejected_connection_sends_is_not_read(proxied: Proxied) -> None:
    proxied.connect(header("203.0.113.66") + login("alice"))
    second = proxied.connect(header("203.0.113.66") + login("bob"))
    third = proxied.connect(header("203.0.113.66"))
    for rejected in (second, third):
        assert rejected.open
        assert not rejected.reactor.readers
    proxied.connect(header("198.51.100.1") + login("carol"))
    assert [user.name for user in proxied.server.factory.directory.online] == ["alice", "carol"]
    # A layer such as TLS may have read more than the header.
    with capturedLogs() as events:
        second.transport.protocol.dataReceived(login("bob"))
    assert not events
    third.close()
    proxied.wait(REJECTED_SECONDS + 0.2)
    assert not second.open


@pytest.mark.parametrize("limits", [Limits(connection_rate_per_address=Rate(1, 2))], indirect=True)
def test_the_proxy_may_connect_as_often_as_its_users(proxied: Proxied) -> None:
    lines = [proxied.connect(header(f"203.0.113.{n}") + login(f"u{n}")) for n in range(5)]
    assert len(proxied.server.factory.directory.online) == 5
    again = [proxied.connect(header("203.0.113.0")) for _ in range(2)]
    proxied.wait(REJECTED_SECONDS + 0.2)
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
    assert hosts(proxied) == []


@pytest.mark.parametrize("limits", [Limits()], indirect=True)
def test_behind_the_header_it_is_a_connection_like_others(proxied: Proxied) -> None:
    line = proxied.connect(header("203.0.113.66"))
    (connection,) = proxied.server.factory.connections
    assert isinstance(connection, FirstBytes)
    assert connection.peer == "203.0.113.66:4000"
    line.send(login("alice"))
    (connection,) = proxied.server.factory.connections
    assert isinstance(connection, ChatProtocol)
    assert connection.peer == "'alice' at 203.0.113.66:4000"
    assert proxied.server.factory.counters.connections == 1
    # What is received and written takes no way round.
    assert line.transport.protocol is connection
    assert isinstance(connection.output, DirectOutput)


@pytest.mark.parametrize("limits", [Limits(connections_per_address=1)], indirect=True)
@pytest.mark.parametrize("first", [b"PROXY UNKNOWN\r\n", version_2(b"", command=0x20)])
def test_who_has_no_address_counts_for_none(proxied: Proxied, first: bytes) -> None:
    """Clients of the proxy's UNIX socket, and its own health checks."""
    with capturedLogs() as events:
        lines = [proxied.connect(first + login(name)) for name in ("alice", "bob")]
    assert all(line.theirs.recv(100) for line in lines)
    assert hosts(proxied) == ["", ""]
    (peer, _) = [event["peer"] for event in events if "logged in" in event["log_format"]]
    assert peer == "'alice' at a client of the proxy 192.0.2.9:4000"


@pytest.mark.parametrize("limits", [Limits()], indirect=True)
@pytest.mark.parametrize("said", [header("203.0.113.66"), version_2(TCP4)])
def test_a_header_in_pieces_is_a_header(proxied: Proxied, said: bytes) -> None:
    for cut in range(1, len(said)):
        line = proxied.connect(said[:cut])
        assert hosts(proxied) == [""]
        line.send(said[cut:] + login("alice")[:1])
        assert hosts(proxied) == ["203.0.113.66"]
        line.close()


@pytest.mark.parametrize("limits", [Limits(frame_seconds=30)], indirect=True)
def test_a_header_without_an_end_has_its_time(proxied: Proxied) -> None:
    line = proxied.connect(b"PROXY ")
    proxied.wait(20)
    assert proxied.server.factory.counters.limits == {}
    proxied.wait(25)
    assert proxied.server.factory.counters.limits == {"frame_seconds": 1}
    line.close()


@pytest.mark.parametrize("limits", [Limits()], indirect=True)
def test_it_says_that_there_is_no_header(proxied: Proxied) -> None:
    with capturedLogs() as events:
        line = proxied.connect(login("alice"))
        assert line.theirs.recv(100) == b""
        proxied.connect(header("203.0.113.66")).close()
        proxied.connect().close()
        proxied.connect()
        proxied.server.factory.shut_down()
        proxied.wait()
    (event,) = [one for one in events if "why" in one]
    assert "does not begin with a PROXY header" in event["why"]
    assert event["peer"] == "a client of the proxy 192.0.2.9:4000"


@pytest.mark.parametrize("limits", [Limits()], indirect=True)
def test_a_proxy_in_a_header_is_no_client(proxied: Proxied) -> None:
    """One proxy behind another: the inner one tells the address of the outer one."""
    proxied.connect(header("192.0.2.9") + login("alice"))
    assert hosts(proxied) == [""]


@pytest.mark.parametrize("limits", [Limits()], indirect=True)
@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        (PROXY, True),
        (IPv4Address("TCP", "127.0.0.1", 1), True),
        (IPv6Address("TCP", "::1", 1), True),
        (IPv6Address("TCP", "::ffff:192.0.2.9", 1), True),
        (UNIXAddress(b""), True),
        (None, True),
        (IPv4Address("TCP", "192.0.2.10", 1), False),
        (IPv6Address("TCP", "2001:db8::1", 1), False),
    ],
)
def test_headers_from_trusted_proxies_only(
    proxied: Proxied, address: IAddress | None, accepted: bool
) -> None:
    with capturedLogs() as events:
        protocol = proxied.factory.buildProtocol(address)
    assert isinstance(protocol, ProxyHeader if accepted else ClosedAtOnce)
    assert [event["log_format"].endswith("(--trusted-proxy)") for event in events] == [True] * (
        not accepted
    )


# Headers.


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (header("192.0.2.1"), IPv4Address("TCP", "192.0.2.1", 4000)),
        (
            b"PROXY TCP6 2001:db8::1 ::1 65535 443\r\n",
            IPv6Address("TCP", "2001:db8::1", 65535),
        ),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
        (version_2(TCP4), IPv4Address("TCP", "203.0.113.66", 4000)),
        (version_2(TCP4 + b"\x04\0\1x"), IPv4Address("TCP", "203.0.113.66", 4000)),
        (version_2(TCP6, family=0x21), IPv6Address("TCP", "2001:db8::1", 4000)),
        (version_2(bytes(216), family=0x31), None),
        (version_2(b"", family=0), None),
        (version_2(b"", command=0x20), None),
        (version_2(TCP4, command=0x20), None),
    ],
)
def test_headers(data: bytes, source: object) -> None:
    assert read_header(data + b"more") == (len(data), source)
    for size in range(1, len(data)):
        assert read_header(data[:size]) is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\0", "does not begin with a PROXY header"),
        (b"PROXX", "does not begin with a PROXY header"),
        (b"\r\n\r\n\x01", "does not begin with a PROXY header"),
        (b"PROXY " + b"x" * 101, "longer than 107 bytes"),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY header is malformed: PROXY TCP4 192.0.2.1 1",
        ),
        (b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", "PROXY header is malformed"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", "PROXY header is malformed"),
        (b"PROXY TCP6 fe80::1%\x1b[31m\n\tx ::1 1 2\r\n", "PROXY header is malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", "PROXY header is malformed"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", "PROXY header is malformed"),
        (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY header is malformed"),
        (b"PROXY \xff\r\n", r"PROXY header is malformed: PROXY \\xff"),
        (version_2(TCP4, command=0x11), "unknown version or command, 0x11"),
        (version_2(TCP4, command=0x22), "unknown version or command, 0x22"),
        (version_2(TCP4[:-1]), "of 27 bytes is too short"),
    ],
)
def test_what_is_no_header(data: bytes, why: str) -> None:
    with pytest.raises(BadHeader, match=why):
        read_header(data)


@given(st.one_of(st.binary(), st.binary().map(lambda one: b"PROXY " + one + b"\r\n")))
def test_whatever_comes_nothing_else_fails(data: bytes) -> None:
    with suppress(BadHeader):
        read_header(data or b"x")
