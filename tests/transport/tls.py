"""A TLS client in memory, to a server without a socket."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from twisted.internet.testing import StringTransport

__all__ = ["TLSClient"]


class TLSClient:
    """The other end of TLS over a transport of a test.

    Args:
        context: with what it trusts.
        receive: takes bytes at the server's end.
        transport: of the server's end.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        receive: Callable[[bytes], object],
        transport: StringTransport,
    ) -> None:
        self._receive = receive
        self._transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    @property
    def serial(self) -> int:
        """The serial number of the server's certificate."""
        certificate = self._tls.getpeercert()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)

    def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.exchange()
            else:
                self.exchange()
                return

    def exchange(self) -> None:
        """Let the bytes pass that either end has written."""
        if sent := self._outgoing.read():
            self._receive(sent)
        self._incoming.write(self._transport.value())
        self._transport.clear()

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self.exchange()

    def close(self) -> None:
        """Send close_notify."""
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            self.exchange()

    def read(self) -> bytes:
        """What has come; nothing if that is none."""
        self.exchange()
        try:
            return self._tls.read()
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            return b""
