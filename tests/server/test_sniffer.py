"""What is spoken, by the first bytes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.interfaces import IProtocol
from twisted.protocols.policies import ProtocolWrapper

from chat_protocol.server.sessionless import Acceptor, SessionlessConnection
from chat_protocol.server.sniffer import NotServed, Sniffer, Spoken
from tests.server.line import login

HELLO = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"
GET = b"GET / HTTP/1.1\r\n"
PROXY = b"PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\n"
PROXY_2 = b"\r\n\r\n\x00\r\nQUIT\n"
SSH = b"SSH-2.0-OpenSSH_9.2\r\n"


class TLS:
    """The name in every certificate is alice."""

    def wrap(self, protocol: IProtocol) -> ProtocolWrapper:
        raise NotImplementedError

    def name_of(self, transport: Any) -> str | None:
        return "alice"


class Web:
    def http_connection(self, acceptor: Acceptor) -> SessionlessConnection:
        raise NotImplementedError


PLAIN = Sniffer()
WITH_TLS = Sniffer(TLS())
WITH_WEB = Sniffer(web=Web())
STRICT = Sniffer(TLS(), required=True, web=Web())


@pytest.mark.parametrize("sniffer", [PLAIN, WITH_TLS, WITH_WEB])
def test_zero_begins_a_frame(sniffer: Sniffer) -> None:
    for data in (login("alice"), b"\0"):
        assert sniffer.spoken(data, in_tls=False) is Spoken.CHAT


def test_a_handshake_begins_tls() -> None:
    assert WITH_TLS.spoken(HELLO, in_tls=False) is Spoken.TLS
    assert WITH_TLS.spoken(HELLO[:1], in_tls=False) is Spoken.TLS
    with pytest.raises(NotServed, match="the server has no certificate"):
        PLAIN.spoken(HELLO, in_tls=False)
    # TLS within TLS is none.
    assert WITH_TLS.spoken(HELLO, in_tls=True) is Spoken.UNKNOWN


@pytest.mark.parametrize("data", [GET, b"G", b"Z", b"BREW / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n"])
def test_a_letter_begins_http_where_there_is_a_page(data: bytes) -> None:
    assert WITH_WEB.spoken(data, in_tls=False) is Spoken.HTTP
    assert WITH_WEB.spoken(data, in_tls=True) is Spoken.HTTP


@pytest.mark.parametrize("data", [login("alice"), GET])
def test_tls_may_be_required(data: bytes) -> None:
    with pytest.raises(NotServed, match="does not use TLS, and --require-tls is given"):
        STRICT.spoken(data, in_tls=False)
    assert STRICT.spoken(data, in_tls=True) in (Spoken.CHAT, Spoken.HTTP)
    assert STRICT.spoken(HELLO, in_tls=False) is Spoken.TLS


@pytest.mark.parametrize("in_tls", [False, True])
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (GET, "the client speaks HTTP"),
        (b"PRI * HTTP/2.0\r\n", "the client speaks HTTP"),
        (PROXY, "sends the PROXY header; listen on haproxy:"),
        (PROXY_2, "sends the PROXY header; listen on haproxy:"),
        (SSH, "the client speaks SSH"),
    ],
)
def test_what_was_meant_for_another_port_is_named(data: bytes, why: str, in_tls: bool) -> None:
    with pytest.raises(NotServed, match=why):
        PLAIN.spoken(data, in_tls)


@pytest.mark.parametrize("data", [PROXY, PROXY_2, SSH])
def test_a_page_changes_nothing_for_them(data: bytes) -> None:
    for sniffer in (WITH_WEB, STRICT):
        with pytest.raises(NotServed, match=r"SSH|PROXY"):
            sniffer.spoken(data, in_tls=False)


def test_their_names_need_four_bytes() -> None:
    for size in (1, 2, 3):
        assert PLAIN.spoken(SSH[:size], in_tls=False) is Spoken.UNDECIDED
    with pytest.raises(NotServed):
        PLAIN.spoken(SSH[:4], in_tls=False)


@pytest.mark.parametrize("data", [b"\x01\0\0\0", b"\xff" * 10, b"get /"])
def test_anything_else_is_unknown(data: bytes) -> None:
    assert STRICT.spoken(data, in_tls=False) is Spoken.UNKNOWN
    assert STRICT.spoken(data[:3], in_tls=False) is Spoken.UNDECIDED


def test_the_name_in_a_certificate_counts_on_tls_that_was_begun_here() -> None:
    connection: Any = SimpleNamespace(is_secured=False, transport=None)
    assert WITH_TLS.certified_name(connection) is None
    connection.is_secured = True
    assert WITH_TLS.certified_name(connection) == "alice"
    assert PLAIN.certified_name(connection) is None
