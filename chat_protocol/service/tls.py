"""The server's certificate: read from files, and again when they change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.errors import CertificateUnusable
from chat_protocol.service.config import TLSConfig
from chat_protocol.service.tls_context import Files, make_context

__all__ = ["EXPIRY_WARNING", "LOOK_SECONDS", "Certificates"]

LOOK_SECONDS = 2.0
"""How often the files are looked at."""

EXPIRY_WARNING = timedelta(days=14)
"""From so long before its end on, the log says each day when the certificate ends."""

_DAY = 24 * 60 * 60


class Certificates:
    """TLS for connections, with the certificate as it is when they begin; see ITLS.

    A new certificate is for the connections that begin after it was read; those that are there go
    on. One that cannot be used is reported in the log, and the old one stays. Files that belong
    together may be replaced one after the other: a fault is one when two looks find it.

    Args:
        config: names the files.
        clock: times the looks.
        wall_clock: nanoseconds since the epoch.

    Raises:
        CertificateUnusable: the files cannot be used now.
    """

    log = Logger()

    def __init__(
        self, config: TLSConfig, clock: IReactorTime, wall_clock: Callable[[], int]
    ) -> None:
        self._config = config
        self._wall_clock = wall_clock
        self._read = self._seen = self._reported = Files.read(config)
        self._context, self._certificate = make_context(config, self._read)
        self._looks = LoopingCall(self.look)
        self._days = LoopingCall(self._warn_of_the_end)
        self._looks.clock = self._days.clock = clock

    def start(self) -> None:
        """Say what was read, and look at the files from time to time."""
        self._say("Serving TLS with")
        self._looks.start(LOOK_SECONDS, now=False).addErrback(self._failed)
        self._days.start(_DAY).addErrback(self._failed)

    def stop(self) -> None:
        """Look no more."""
        for loop in (self._looks, self._days):
            if loop.running:
                loop.stop()

    def look(self) -> None:
        """Read the files again if they have changed."""
        files = Files.read(self._config)
        if files == self._read:
            self._seen = self._reported = files
            return
        if files == self._reported:
            return
        try:
            self._context, self._certificate = make_context(self._config, files)
        except CertificateUnusable as error:
            if files == self._seen:
                self._reported = files
                self.log.error("{reason}; the old certificate stays in use", reason=str(error))
            self._seen = files
        else:
            self._read = self._seen = self._reported = files
            self._say("New connections get")
            self._warn_of_the_end()

    # ITLS

    def start_tls(self, transport: Any, peer_done: Callable[[], None]) -> None:
        """See ITLS."""
        transport.startTLS(_Creator(self._context, peer_done))

    def name_of(self, transport: Any) -> str | None:
        """See ITLS: the common name of the subject (RFC 4519, section 2.3)."""
        shown = transport.getPeerCertificate()
        if shown is None:
            return None
        names = shown.to_cryptography().subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return str(names[0].value) if len(names) == 1 else None

    # Inside.

    def _say(self, what: str) -> None:
        certificate = self._certificate
        self.log.info(
            "{what} the certificate {subject}, serial number {serial:x}, good until {end:%Y-%m-%d}",
            what=what,
            subject=ascii(certificate.subject.rfc4514_string())[1:-1],
            serial=certificate.serial_number,
            end=certificate.not_valid_after_utc,
        )

    def _warn_of_the_end(self) -> None:
        end = self._certificate.not_valid_after_utc
        now = datetime.fromtimestamp(self._wall_clock() // 10**9, timezone.utc)
        if end < now:
            self.log.error("The certificate has expired: clients will refuse it; renew it")
        elif end - now < EXPIRY_WARNING:
            self.log.warn("The certificate expires at {end:%Y-%m-%d %H:%M} UTC; renew it", end=end)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("The certificate is not looked at any more", failure)


@implementer(IOpenSSLServerConnectionCreator)
class _Creator:
    def __init__(self, context: SSL.Context, peer_done: Callable[[], None]) -> None:
        self._context = context
        self._peer_done = peer_done

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """See IOpenSSLServerConnectionCreator."""
        return _Connection(self._context, self._peer_done)


class _Connection(SSL.Connection):
    """A connection whose peer may close its sending side (RFC 8446, section 6.1).

    Twisted takes the peer's close_notify for the end of the connection and drops the answers
    that are due.
    """

    def __init__(self, context: SSL.Context, peer_done: Callable[[], None]) -> None:
        super().__init__(context, None)
        self._peer_done = peer_done

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """See socket.recv()."""
        try:
            return super().recv(bufsiz, flags)
        except SSL.ZeroReturnError:
            if self.get_shutdown() & SSL.SENT_SHUTDOWN:
                raise
        self._peer_done()
        # Nothing more to read, and no reason to close.
        raise SSL.WantReadError
