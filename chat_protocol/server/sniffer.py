"""The first bytes of a connection say what it speaks (docs/protocol.md, clause F16).

A frame begins with 0x00, for its length is below 2^24; a TLS handshake with 0x16 (RFC 8446,
section 5.1); a request of HTTP with a letter (RFC 9112, section 3.1). So one port serves them all,
and the log says of who speaks something else what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.python.failure import Failure

from chat_protocol.transport.sockets import is_closing, is_tls, tls_below

if TYPE_CHECKING:
    from chat_protocol.server.connection import ChatProtocol

__all__ = ["ITLS", "ICarrier", "IWeb", "Opening", "why_lost"]

_FRAME = 0x00
_HANDSHAKE = 0x16

_LETTERS = range(ord("A"), ord("Z") + 1)

_HTTP = "it speaks HTTP, and this is no web server"
_PROXY = "it sends a PROXY header; listen on haproxy:... for it"

_FOREIGN = {
    **dict.fromkeys((b"GET ", b"HEAD", b"POST", b"PUT ", b"OPTI", b"CONN", b"PRI "), _HTTP),
    **dict.fromkeys((b"PROX", b"\r\n\r\n"), _PROXY),
    b"SSH-": "it speaks SSH, and this is no SSH server",
}
"""What programs begin with that were meant for other ports: four bytes."""

_FAULTS = {
    "http request": _HTTP,
    "https proxy request": _HTTP,
    "wrong version number": "it speaks no TLS, and nothing else is spoken here; have it use TLS,"
    " or another port",
    "unsupported protocol": "it knows no version of TLS that is safe; TLS 1.2 is needed at least",
    "no shared cipher": "it knows no cipher that is safe",
    "unknown ca": "it does not trust the certificate's authority; have it trust that one, or get"
    " a certificate from one that it trusts",
    "bad certificate": "it does not accept the certificate; has it the right name?",
    "certificate unknown": "it does not accept the certificate",
    "certificate expired": "it takes the certificate for expired; renew it, look at the clocks",
    "certificate verify failed": "its own certificate is none of those that"
    " --client-authorities is for, or has expired or been revoked",
}
"""What OpenSSL says of a handshake that failed, and what that means."""

_FAULTS["packet length too long"] = _FAULTS["record layer failure"] = _FAULTS[
    "wrong version number"
]


class ITLS(Protocol):
    """What makes connections TLS ones."""

    def start_tls(self, transport: Any, peer_done: Callable[[], None]) -> None:
        """Have the transport, one with startTLS, speak TLS from now on, as the server.

        Args:
            peer_done: called when the peer has closed its sending side in good order.
        """

    def name_of(self, transport: Any) -> str | None:
        """The name in the certificate that the peer showed and that is good."""


class ICarrier(Protocol):
    """What carries the bytes of a connection, where that is not the transport alone."""

    @property
    def unfinished(self) -> object | None:
        """What has begun to come in and is waited for: the same object until it is there."""

    def lost(self, reason: Failure) -> None:
        """The connection is gone."""


class IWeb(Protocol):
    """What takes connections that speak HTTP."""

    def begin(self, connection: ChatProtocol, data: bytes) -> None:
        """Take a connection, by ChatProtocol.carry, and its first bytes."""


def why_lost(reason: Failure) -> str:
    """What a connection was lost for, in words."""
    error = reason.value
    if error is not None and error.args and type(error).__module__.startswith("OpenSSL"):
        # OpenSSL's queue of errors, each a library, a function and a reason; or a number and words.
        errors = error.args[0]
        what = errors[-1][-1] if isinstance(errors, list) and errors else error.args[-1]
        return f"TLS: {what or 'it ended'}"
    return str(reason.getErrorMessage())


class Opening:
    """Decides what becomes of a connection when its first bytes are there.

    Args:
        tls: makes TLS connections; None: there is none on this server.
        required: whether a connection without TLS is closed.
        web: takes those that speak HTTP; None: they are closed.
    """

    def __init__(
        self, tls: ITLS | None = None, required: bool = False, web: IWeb | None = None
    ) -> None:
        self._tls = tls
        self._required = required
        self._web = web

    def are_frames(self, connection: ChatProtocol, data: bytes) -> bool:
        """Whether the bytes, at least one, are for the connection's parser.

        If they begin a handshake, what it decrypts comes to the connection as its first bytes.
        """
        first = data[0]
        transport: Any = connection.transport
        if is_tls(transport):
            return not self._is_web(connection, data)
        if first == _HANDSHAKE:
            if self._tls is None:
                self._close(
                    connection,
                    "it begins a TLS handshake, and there is no TLS here; have it use none,"
                    " or give --certificate",
                )
            elif not hasattr(transport, "startTLS"):
                self._close(connection, "there is no TLS on this kind of endpoint")
            else:
                self._tls.start_tls(transport, connection.readConnectionLost)
                connection.secured()
                # What was read already is the beginning of the handshake.
                tls_below(transport).dataReceived(data)
            return False
        if self._required and (first == _FRAME or (self._web and first in _LETTERS)):
            self._close(connection, "it uses no TLS, and --require-tls is given; have it use TLS")
            return False
        return not self._is_web(connection, data)

    def _is_web(self, connection: ChatProtocol, data: bytes) -> bool:
        if self._web is None or data[0] not in _LETTERS:
            return False
        if _FOREIGN.get(data[:4], _HTTP) is not _HTTP:
            return False
        self._web.begin(connection, data)
        return True

    def name_of(self, connection: ChatProtocol) -> str | None:
        """The name in the certificate that the client showed, if it did."""
        if self._tls is None or not connection.is_secured:
            return None
        return self._tls.name_of(connection.transport)

    def not_frames(self, connection: ChatProtocol, length: int) -> bool:
        """Whether what stood there for the length of a frame is how something else begins."""
        what = _FOREIGN.get(length.to_bytes(4, "big"))
        if what is None or connection.session is not None:
            return False
        connection.factory.limit_log.about(
            connection,
            "opening",
            "Closing {peer}: {what}",
            what=what,
        )
        return True

    def lost(self, connection: ChatProtocol, reason: Failure) -> None:
        """A connection without a session is gone: if TLS or a PROXY header failed, say why."""
        if connection.awaits_address and is_closing(connection.transport):
            # Not by us, nor by the peer: the wrapper found no header.
            self._say(connection, "it begins without a PROXY header, which is needed here")
        said = why_lost(reason)
        if said.startswith("TLS: "):
            found = [text for fault, text in _FAULTS.items() if fault in said.lower()]
            connection.factory.limit_log.about(
                connection,
                "opening",
                "{peer} is gone, {why}{hint}",
                why=ascii(said)[1:-1],
                hint=f": {found[0]}" if found else "",
            )

    def _close(self, connection: ChatProtocol, why: str) -> None:
        self._say(connection, why)
        connection.close()

    def _say(self, connection: ChatProtocol, why: str) -> None:
        connection.factory.limit_log.about(
            connection,
            "opening",
            "Closing {peer}: {why}",
            why=why,
        )
