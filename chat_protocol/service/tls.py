"""The server's certificate, reloaded when its files change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.errors import CertificateUnusable
from chat_protocol.service.config import TLSConfig
from chat_protocol.service.tls_context import PEMFiles, make_context

__all__ = ["CHECK_SECONDS", "EXPIRY_WARNING", "CertificateReloader"]

CHECK_SECONDS = 2.0
"""Seconds between checks of the files."""

EXPIRY_WARNING = timedelta(days=14)
"""Time before the expiry of the certificate from which the server logs a warning every day."""

_DAY = 24 * 60 * 60


class CertificateReloader:
    """Starts TLS on connections with the current certificate; provides ITLS.

    A changed certificate applies to new connections only. If it cannot be used, the reloader logs
    an error and keeps the old certificate. Certificate and key can be replaced one after the other:
    the reloader reports an error only if two consecutive checks find the same files.

    Args:
        config: the paths of the files.
        clock: schedules the checks.
        wall_clock: returns nanoseconds since the epoch.

    Raises:
        CertificateUnusable: the files cannot be used.
    """

    log = Logger()

    def __init__(
        self, config: TLSConfig, clock: IReactorTime, wall_clock: Callable[[], int]
    ) -> None:
        self._config = config
        self._wall_clock = wall_clock
        self._used = self._last_seen = self._reported = PEMFiles.read(config)
        self._context, self._certificate = make_context(config, self._used)
        creator = _ConnectionCreator(lambda: self._context)
        self._tls = TLSMemoryBIOFactory(
            creator, isClient=False, wrappedFactory=Factory(), clock=clock
        )
        self._file_checks = LoopingCall(self.reload_if_changed)
        self._expiry_checks = LoopingCall(self._warn_if_expiring)
        self._file_checks.clock = self._expiry_checks.clock = clock

    def start(self) -> None:
        """Log the certificate and start the periodic checks."""
        self._log_certificate("Serving TLS with")
        self._file_checks.start(CHECK_SECONDS, now=False).addErrback(self._checks_failed)
        self._expiry_checks.start(_DAY).addErrback(self._checks_failed)

    def stop(self) -> None:
        """Stop the periodic checks."""
        for loop in (self._file_checks, self._expiry_checks):
            if loop.running:
                loop.stop()

    def reload_if_changed(self) -> None:
        """Read the files, and use them for new connections if they have changed."""
        files = PEMFiles.read(self._config)
        if files == self._used:
            self._last_seen = self._reported = files
            return
        if files == self._reported:
            return
        self._load(files, report=files == self._last_seen)

    def reload(self) -> None:
        """Read the files, and use them for new connections. Report it at once if that fails."""
        self._load(PEMFiles.read(self._config), report=True)

    def _load(self, files: PEMFiles, report: bool) -> None:
        try:
            self._context, self._certificate = make_context(self._config, files)
        except CertificateUnusable as error:
            if report:
                self._reported = files
                self.log.error(
                    "Cannot load the changed certificate, the old one stays in use: {reason}",
                    reason=str(error),
                )
            self._last_seen = files
        else:
            self._used = self._last_seen = self._reported = files
            self._log_certificate("New connections use")
            self._warn_if_expiring()

    def wrap(self, protocol: IProtocol) -> TLSMemoryBIOProtocol:
        return self._tls.protocol(self._tls, protocol)

    def name_of(self, transport: Any) -> str | None:
        """Return the common name of the client's certificate (RFC 4519, section 2.3).

        None if the client has no certificate, or if the certificate does not have exactly one
        common name.
        """
        certificate = transport.getPeerCertificate()
        if certificate is None:
            return None
        subject = certificate.to_cryptography().subject
        names = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return str(names[0].value) if len(names) == 1 else None

    def _log_certificate(self, prefix: str) -> None:
        certificate = self._certificate
        self.log.info(
            "{prefix} the certificate {subject}, serial number {serial:x}, valid until"
            " {end:%Y-%m-%d}",
            prefix=prefix,
            subject=ascii(certificate.subject.rfc4514_string())[1:-1],
            serial=certificate.serial_number,
            end=certificate.not_valid_after_utc,
        )

    def _warn_if_expiring(self) -> None:
        end = self._certificate.not_valid_after_utc
        now = datetime.fromtimestamp(self._wall_clock() // 10**9, timezone.utc)
        if end < now:
            self.log.error("The certificate has expired and clients refuse it. Renew it.")
        elif end - now < EXPIRY_WARNING:
            self.log.warn("The certificate expires at {end:%Y-%m-%d %H:%M} UTC. Renew it.", end=end)

    def _checks_failed(self, failure: Failure) -> None:
        self.log.failure(
            "The server stopped checking the certificate. Restart it to load a new one.", failure
        )


@implementer(IOpenSSLServerConnectionCreator)
class _ConnectionCreator:
    def __init__(self, context: Callable[[], SSL.Context]) -> None:
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return _HalfCloseConnection(self._context(), tlsProtocol)


class _HalfCloseConnection(SSL.Connection):
    """A TLS connection that can still send after the peer's close_notify (RFC 8446, section 6.1).

    Twisted treats close_notify as the end of the connection and would drop the remaining answers.

    Args:
        tls: its protocol is told of the peer's close_notify by readConnectionLost, if it provides
            IHalfCloseableProtocol.
    """

    def __init__(self, context: SSL.Context, tls: TLSMemoryBIOProtocol) -> None:
        super().__init__(context, None)
        self._tls = tls

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        try:
            return super().recv(bufsiz, flags)
        except SSL.ZeroReturnError:
            protocol = IHalfCloseableProtocol(self._tls.wrappedProtocol, None)
            if protocol is None or self.get_shutdown() & SSL.SENT_SHUTDOWN:
                raise
        protocol.readConnectionLost()
        # Twisted keeps the connection open on this error.
        raise SSL.WantReadError
