"""How a connection goes from its first bytes to the protocol that it speaks."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from chat_protocol.domain.limits import Limits
from chat_protocol.server.connection import ChatProtocol
from chat_protocol.server.first_bytes import FirstBytes
from chat_protocol.server.sniffer import Sniffer
from chat_protocol.server.state import ConnectionState
from chat_protocol.wire.codes import Code
from tests.server.line import Peer, Response, Server, login, parse
from tests.server.test_sniffer import HELLO


class Swapped(ProtocolWrapper):
    """As little of TLS as there can be: behind the handshake it swaps cases."""

    def dataReceived(self, data: bytes) -> None:
        data = data.removeprefix(HELLO)
        if data:
            self.wrappedProtocol.dataReceived(data.swapcase())

    def getPeerCertificate(self) -> None:
        return None

    def resumeProducing(self) -> None:
        """The transport of tests wants to hear of it before it closes only."""


class TLS:
    def wrap(self, protocol: IProtocol) -> ProtocolWrapper:
        return Swapped(WrappingFactory(None), protocol)

    def name_of(self, transport: Any) -> str | None:
        return "alice"


def connect(sniffer: Sniffer | None = None, limits: Limits | None = None) -> Peer:
    server = Server(limits=limits)
    if sniffer is not None:
        server.factory.sniffer = sniffer
    return server.connect()


def closed(peer: Peer) -> bool:
    return bool(peer.transport.disconnecting)


def lines_about(peer: Peer, log: list[str]) -> list[str]:
    return [line for line in log if "192.0.2.1:4000" in line]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_frames_are_frames_however_they_are_cut(size: int) -> None:
    peer = connect()
    data = login("alice")
    answers = [
        answer for at in range(0, len(data), size) for answer in peer.send(data[at : at + size])
    ]
    assert answers == [Response(1, 1)]


def test_only_the_first_bytes_are_looked_at() -> None:
    peer = connect()
    assert isinstance(peer.protocol, FirstBytes)
    assert (peer.protocol.peer, peer.protocol.whose) == ("192.0.2.1:4000", "192.0.2.1")
    peer.protocol.dataReceived(b"")
    assert isinstance(peer.protocol, FirstBytes)
    peer.send(login("alice")[:1])
    assert isinstance(peer.protocol, ChatProtocol)
    # It is called without a detour: nothing in the instance stands in for its method.
    assert "dataReceived" not in vars(peer.protocol)
    assert peer.send(login("alice")[1:]) == [Response(1, 1)]


def test_it_is_one_connection_all_the_time() -> None:
    server = Server(limits=Limits(connections_per_address=1, login_seconds=100))
    server.factory.startFactory()
    peer = server.connect()
    first = peer.protocol
    assert server.factory.connections == {first}
    server.clock.pump([1] * 60)
    peer.send(login("alice")[:5])
    assert server.factory.connections == {peer.protocol}
    assert first.state is ConnectionState.GONE
    assert server.factory.counters.connections == 1
    assert closed(server.connect()), "the address has its one connection still"
    server.clock.pump([1] * 39)
    assert not closed(peer)
    # The time until the login is counted from the beginning.
    server.clock.pump([1] * 2)
    assert closed(peer)
    peer.lose()
    server.factory.stopFactory()
    assert not closed(server.connect())


def test_what_was_spoken_first_is_gone() -> None:
    gc.collect()
    gc.disable()
    try:
        peer = connect()
        first = weakref.ref(peer.protocol)
        peer.send(login("alice")[:1])
        assert first() is None
    finally:
        gc.enable()


def test_a_silent_connection_has_no_more_than_it_needs() -> None:
    """Its size is what many of them cost."""
    first = connect().protocol
    assert set(vars(first)) <= {"acceptor", "_sniffer", "_is_new", "transport", "connected"}


class Broken(ChatProtocol):
    def connectionMade(self) -> None:
        super().connectionMade()
        raise ZeroDivisionError


def test_nothing_is_left_where_the_next_protocol_fails() -> None:
    peer = connect()
    factory = peer.server.factory
    factory.connection_type = Broken  # type: ignore[misc]
    with pytest.raises(ZeroDivisionError):
        peer.protocol.dataReceived(login("alice"))
    peer.lose()
    assert factory.connections == set()
    assert not factory._addresses._counts


# Where nothing goes on with it.


def test_a_handshake_where_there_is_no_tls(log: list[str]) -> None:
    peer = connect()
    peer.send(HELLO)
    assert closed(peer)
    assert lines_about(peer, log) == [
        "Closing 192.0.2.1:4000: the client starts TLS, and the server has no certificate; connect"
        " without TLS, or start the server with --certificate"
    ]


@pytest.mark.parametrize("size", [1, 100])
def test_another_protocol(log: list[str], size: int) -> None:
    peer = connect()
    data = b"SSH-2.0-OpenSSH_9.2\r\n"
    for at in range(0, len(data), size):
        peer.send(data[at : at + size])
    assert closed(peer)
    (line,) = lines_about(peer, log)
    assert "Closing 192.0.2.1:4000: the client speaks SSH" in line


def test_nothing_that_is_known(log: list[str]) -> None:
    peer = connect()
    peer.send(b"\x80\0\0\x0e\x01")
    assert closed(peer)
    (line,) = lines_about(peer, log)
    assert "closed because of a frame of 2147483662 bytes; 7 to " in line
    assert peer.server.factory.counters.limits == {"MAX_FRAME_BEFORE_LOGIN": 1}


def test_what_it_sends_then_is_ignored() -> None:
    peer = connect()
    peer.send(b"\xff")
    assert peer.protocol.unfinished is not None
    peer.send(b"\xff" * 3)
    assert peer.send(login("alice")) == []
    assert isinstance(peer.protocol, FirstBytes)
    assert peer.protocol.unfinished is None
    peer.lose()
    assert peer.server.factory.connections == set()
    assert peer.server.clock.getDelayedCalls() == []


def test_first_bytes_that_never_come_to_an_end(log: list[str]) -> None:
    peer = connect(limits=Limits(frame_seconds=30))
    peer.server.factory.startFactory()
    peer.send(b"SSH")
    peer.server.clock.pump([1] * 20)
    assert not closed(peer)
    peer.server.clock.pump([1] * 25)
    assert closed(peer)
    assert any("it has not finished a frame within 30 s" in line for line in log)
    peer.server.factory.stopFactory()


def test_a_bad_length_in_a_session_is_no_other_protocol(log: list[str]) -> None:
    peer = Server().logged_in("alice")
    peer.send(b"GET / HTTP/1.1\r\n")
    assert not any("HTTP" in line for line in log)
    assert any("a frame of 1195725856 bytes" in line for line in log)


# Its end.


def test_the_server_stops() -> None:
    peer = connect()
    stopped = peer.server.factory.shut_down()
    assert closed(peer)
    assert peer.send(login("alice")) == []
    assert not stopped.called
    peer.lose()
    assert stopped.called
    assert peer.server.clock.getDelayedCalls() == []


@pytest.fixture
def silent() -> Iterator[Peer]:
    peer = connect()
    yield peer
    peer.lose()
    assert peer.server.factory.connections == set()
    assert peer.server.clock.getDelayedCalls() == []


def test_the_peer_closes_its_side(silent: Peer) -> None:
    silent.protocol.readConnectionLost()
    assert closed(silent)


def test_it_takes_too_long_to_close(silent: Peer) -> None:
    silent.protocol.end(Code.GOING_AWAY, "")
    assert silent.protocol.state is ConnectionState.LINGERING
    silent.server.clock.advance(silent.server.limits.close_seconds)
    assert silent.transport.disconnected


def test_it_is_cut_off_while_it_closes(silent: Peer) -> None:
    silent.protocol.close()
    assert not silent.transport.disconnected
    silent.protocol.cut_off()
    assert silent.transport.disconnected


def test_it_is_aborted(silent: Peer) -> None:
    silent.protocol.abort()
    assert silent.transport.disconnected


def test_its_peer_has_vanished(silent: Peer) -> None:
    silent.protocol.cut_off()
    assert silent.transport.disconnected


# TLS.


def test_tls_comes_between() -> None:
    peer = connect(Sniffer(TLS()))
    first = peer.protocol
    peer.send(HELLO)
    tls, inside = peer.protocol, peer.protocol.wrappedProtocol
    assert isinstance(tls, Swapped)
    assert isinstance(inside, FirstBytes)
    assert inside is not first
    assert inside.is_secured
    assert inside.peer == "192.0.2.1:4000 (TLS)"
    assert peer.server.factory.connections == {inside}
    assert peer.server.factory.counters.connections == 1


def test_the_first_bytes_in_tls_decide_again() -> None:
    peer = connect(Sniffer(TLS(), required=True))
    peer.send(HELLO)
    # Decrypted it is a login of alice.
    assert peer.send(login("ALICE").swapcase()) == [Response(1, 1)]
    chat = peer.protocol.wrappedProtocol
    assert isinstance(chat, ChatProtocol)
    assert chat.is_secured
    assert chat.peer == "'ALICE' at 192.0.2.1:4000 (TLS)"


def test_a_handshake_and_frames_in_one_segment() -> None:
    peer = connect(Sniffer(TLS()))
    assert peer.send(HELLO, login("ALICE").swapcase()) == [Response(1, 1)]


def test_what_is_in_tls_and_not_served(log: list[str]) -> None:
    peer = connect(Sniffer(TLS()))
    peer.send(HELLO, b"get /")
    assert closed(peer)
    (line,) = lines_about(peer, log)
    assert line.startswith("Closing 192.0.2.1:4000 (TLS): the client speaks HTTP")


# Transports that cannot be told of another protocol.


class Plain(StringTransport):
    """Knows its protocol, and nobody can tell it of another."""


def test_another_protocol_goes_on_where_the_transport_cannot_be_told() -> None:
    server = Server()
    protocol: Any = server.factory.buildProtocol(None)
    transport = Plain()
    protocol.makeConnection(transport)
    data = login("alice")
    for piece in data[:10], data[10:]:
        protocol.dataReceived(piece)
    server.turn()
    assert parse(transport.value()) == [Response(1, 1)]
    assert [type(one) for one in server.factory.connections] == [ChatProtocol]
    chat: Any = server.factory.connections.copy().pop()
    protocol.readConnectionLost()
    assert transport.disconnecting
    protocol.writeConnectionLost()
    protocol.connectionLost(Failure(ConnectionDone()))
    server.turn()
    assert server.factory.connections == set()
    assert chat.state is ConnectionState.GONE


def test_tls_without_half_close_is_closed_where_the_transport_cannot_be_told() -> None:
    server = Server()
    server.factory.sniffer = Sniffer(TLS())
    protocol: Any = server.factory.buildProtocol(None)
    transport = Plain()
    protocol.makeConnection(transport)
    protocol.dataReceived(HELLO)
    protocol.readConnectionLost()
    assert transport.disconnecting


# What the log says of TLS that fails.


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("tlsv1 alert unknown ca", "unknown ca: the client does not trust the authority"),
        ("wrong version number", ": the client does not use TLS, and this endpoint"),
        ("packet length too long", ": the client does not use TLS, and this endpoint"),
        ("http request", ": the client speaks HTTP without TLS"),
        ("certificate verify failed", "--client-authorities"),
        ("something new", "TLS with 192.0.2.1:4000 failed: something new"),
    ],
)
def test_why_a_handshake_failed_is_said(log: list[str], error: str, said: str) -> None:
    peer = connect()
    reason = Failure(SSL.Error([("SSL routines", "", error)]))
    peer.protocol.connectionLost(reason)
    (line,) = [line for line in log if "failed" in line]
    assert said in line
    assert "192.0.2.1:4000" in line
