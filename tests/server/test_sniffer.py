"""What the first bytes of a connection decide, and what the log says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.server.sniffer import Opening, why_lost
from tests.server.line import Peer, Response, Server, login

HELLO = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"


class TLS:
    """Takes connections and speaks nothing."""

    def __init__(self) -> None:
        self.started: list[Any] = []

    def start_tls(self, transport: Any, peer_done: Callable[[], None]) -> None:
        self.started.append(transport)

    def name_of(self, transport: Any) -> str | None:
        return "alice"


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def connect(opening: Opening | None = None) -> Peer:
    server = Server()
    if opening is not None:
        server.factory.opening = opening
    return server.connect()


def closed(peer: Peer) -> bool:
    return bool(peer.transport.disconnecting)


@pytest.mark.parametrize("size", [1, 4, 100])
def test_frames_are_frames_however_they_are_cut(size: int) -> None:
    peer = connect()
    data = login("alice")
    answers = [
        answer for at in range(0, len(data), size) for answer in peer.send(data[at : at + size])
    ]
    assert answers == [Response(1, 1)]


def test_only_the_first_bytes_are_looked_at() -> None:
    peer = connect(Opening(None, required=False))
    peer.send(login("alice")[:1])
    peer.server.factory.opening = Opening(None, required=True)
    assert peer.send(login("alice")[1:]) == [Response(1, 1)]


def test_a_handshake_where_there_is_no_tls(log: list[str]) -> None:
    peer = connect()
    peer.send(HELLO)
    assert closed(peer)
    assert [line for line in log if "192.0.2.1:4000" in line] == [
        "Closing 192.0.2.1:4000: it begins a TLS handshake, and there is no TLS here; have it use"
        " none, or give --certificate"
    ]


def test_a_handshake_on_an_endpoint_that_cannot_have_tls(log: list[str]) -> None:
    tls = TLS()
    peer = connect(Opening(tls))
    peer.send(HELLO)
    assert closed(peer)
    assert not tls.started
    assert any("no TLS on this kind of endpoint" in line for line in log)


def test_frames_where_tls_is_required(log: list[str]) -> None:
    peer = connect(Opening(TLS(), required=True))
    assert peer.send(login("alice")) == []
    assert closed(peer)
    assert any("it uses no TLS, and --require-tls is given" in line for line in log)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"GET / HTTP/1.1\r\n", "it speaks HTTP"),
        (b"PRI * HTTP/2.0\r\n", "it speaks HTTP"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\n", "it sends a PROXY header; listen on haproxy:"),
        (b"\r\n\r\n\x00\r\nQUIT\n", "it sends a PROXY header; listen on haproxy:"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it speaks SSH"),
    ],
)
def test_what_was_meant_for_another_port_is_named(log: list[str], data: bytes, what: str) -> None:
    peer = connect()
    peer.send(data)
    assert closed(peer)
    assert [line for line in log if "Closing" in line and what in line]


def test_a_bad_length_in_a_session_is_no_other_protocol(log: list[str]) -> None:
    peer = Server().logged_in("alice")
    peer.send(b"GET / HTTP/1.1\r\n")
    assert not any("HTTP" in line for line in log)
    assert any("a frame of 1195725856 bytes" in line for line in log)


def test_the_name_in_a_certificate_counts_on_tls_only() -> None:
    peer = connect(Opening(TLS()))
    assert peer.server.factory.opening.name_of(peer.protocol) is None
    peer.protocol.is_secured = True
    assert peer.server.factory.opening.name_of(peer.protocol) == "alice"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("tlsv1 alert unknown ca", "it does not trust the certificate's authority"),
        ("wrong version number", "it speaks no TLS, and nothing else is spoken here"),
        ("packet length too long", "it speaks no TLS, and nothing else is spoken here"),
        ("http request", "it speaks HTTP"),
        ("certificate verify failed", "--client-authorities"),
        ("something new", "TLS: something new"),
    ],
)
def test_why_a_handshake_failed_is_said(log: list[str], error: str, said: str) -> None:
    peer = connect()
    reason = Failure(SSL.Error([("SSL routines", "", error)]))
    peer.protocol.connectionLost(reason)
    (line,) = [line for line in log if "is gone" in line]
    assert said in line
    assert "192.0.2.1:4000" in line


def test_errors_of_other_forms() -> None:
    assert why_lost(Failure(SSL.SysCallError(-1, "Unexpected EOF"))) == "TLS: Unexpected EOF"
    assert why_lost(Failure(SSL.Error([]))) == "TLS: it ended"
    assert "non-clean" in why_lost(Failure(ConnectionLost()))
