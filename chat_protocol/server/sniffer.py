"""What a connection speaks, by its first bytes (docs/protocol.md, clause F16).

A frame begins with 0x00, because its length is below 2^24. A TLS handshake begins with 0x16 (RFC
8446, section 5.1), an HTTP request with a letter (RFC 9112, section 3.1). So one port serves all
three. Clients of some other protocols are recognized as well, so that the log can name them.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Protocol

from twisted.internet.interfaces import IProtocol
from twisted.protocols.policies import ProtocolWrapper

from chat_protocol.server.peer import Connection
from chat_protocol.server.sessionless import Acceptor, SessionlessConnection

__all__ = ["ITLS", "IWeb", "NotServed", "Sniffer", "Spoken"]

_FRAME = 0x00
_HANDSHAKE = 0x16
_LETTERS = range(ord("A"), ord("Z") + 1)

_HTTP = "the client speaks HTTP, and this server has no web page"
_PROXY = "a proxy sends the PROXY header; listen on haproxy:... for it"

_KNOWN = {
    **dict.fromkeys((b"GET ", b"HEAD", b"POST", b"PUT ", b"OPTI", b"CONN", b"PRI "), _HTTP),
    **dict.fromkeys((b"PROX", b"\r\n\r\n"), _PROXY),
    b"SSH-": "the client speaks SSH, and this is a chat server",
}
"""The first bytes of clients that are not served, and what the log says of them."""

_KNOWN_BYTES = 4


class Spoken(Enum):
    """What a connection speaks."""

    CHAT = auto()
    TLS = auto()
    HTTP = auto()
    UNDECIDED = auto()
    """More bytes are needed."""
    UNKNOWN = auto()
    """As a frame it would have a length that is out of bounds."""


class NotServed(Exception):
    """A connection is to be closed for what it speaks; the text tells the operator why."""


class ITLS(Protocol):
    """Makes TLS connections."""

    def wrap(self, protocol: IProtocol) -> ProtocolWrapper:
        """Return the server's side of TLS for one connection; ``protocol`` gets what it decrypts.

        If ``protocol`` provides IHalfCloseableProtocol, its readConnectionLost is called when the
        peer has sent close_notify.
        """

    def name_of(self, transport: Any) -> str | None:
        """Return the name in the client's certificate; None without a valid certificate."""


class IWeb(Protocol):
    """Serves HTTP."""

    def http_connection(self, acceptor: Acceptor) -> SessionlessConnection:
        """Return a protocol to which a connection can be handed over."""


class Sniffer:
    """Tells from the first bytes of a connection what it speaks, and whether that is served.

    Args:
        tls: makes TLS connections; None: there is no TLS on this server.
        required: whether connections without TLS are closed.
        web: serves HTTP; None: connections that speak it are closed.
    """

    def __init__(
        self, tls: ITLS | None = None, required: bool = False, web: IWeb | None = None
    ) -> None:
        self.tls = tls
        self.web = web
        self._required = required

    def spoken(self, data: bytes, in_tls: bool) -> Spoken:
        """Return what the client speaks.

        Args:
            data: everything that has arrived, at least one byte.
            in_tls: whether TLS has decrypted it.

        Raises:
            NotServed: the connection is to be closed.
        """
        first = data[0]
        if first == _HANDSHAKE and not in_tls:
            if self.tls is None:
                raise NotServed(
                    "the client starts TLS, and the server has no certificate; connect without"
                    " TLS, or start the server with --certificate"
                )
            return Spoken.TLS
        known = _KNOWN.get(data[:_KNOWN_BYTES])
        is_http = self.web is not None and first in _LETTERS and known in (None, _HTTP)
        if first == _FRAME or is_http:
            if self._required and not in_tls:
                raise NotServed("the client does not use TLS, and --require-tls is given")
            return Spoken.HTTP if is_http else Spoken.CHAT
        if known is not None:
            raise NotServed(known)
        return Spoken.UNDECIDED if len(data) < _KNOWN_BYTES else Spoken.UNKNOWN

    def certified_name(self, connection: Connection) -> str | None:
        """Return the name in the client's certificate; None without a valid certificate."""
        if self.tls is None or not connection.is_secured:
            return None
        return self.tls.name_of(connection.transport)
