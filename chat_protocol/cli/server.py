"""Where the server is: what ``--server`` takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.usage import UsageError

from chat_protocol.errors import CertificateUnusable

__all__ = ["DEFAULT_PORT", "TLS", "Server", "parse_server"]

DEFAULT_PORT = 5555

_HOST_AND_PORT = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]/\s]+))(?::(?P<port>\d+))?")


@dataclass(frozen=True, slots=True)
class TLS:
    """How to speak TLS; the server is verified in any case."""

    authorities: str | None = None
    """Path of the certificates of those to be trusted; None: those that the system knows."""
    certificate: str | None = None
    """Path of one's own certificate and its key."""


@dataclass(frozen=True, slots=True)
class Server:
    """A place to connect to."""

    text: str
    """As the user wrote it."""
    address: tuple[str, int] | None
    """Host and port; None if ``text`` is an endpoint string."""
    tls: TLS | None = None
    """Only with host and port."""

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """The endpoint; UsageError if it cannot be made of what was given."""
        if self.address is not None:
            host, port = self.address
            if self.tls is not None:
                return _tls_endpoint(reactor, host, port, self.tls)
            return HostnameEndpoint(reactor, host, port)
        try:
            endpoint: IStreamClientEndpoint = clientFromString(  # type: ignore[no-untyped-call]
                reactor, self.text
            )
        except Exception as error:
            # The parsers, some of them plugins, raise whatever comes their way.
            hint = (
                "; for TLS install 'twisted[tls]'" if self.text.startswith(("tls:", "ssl:")) else ""
            )
            raise UsageError(
                f"--server {self.text}: this is no usable endpoint ({error}){hint}"
            ) from error
        return endpoint


def _tls_endpoint(reactor: Any, host: str, port: int, tls: TLS) -> IStreamClientEndpoint:
    try:
        # Here, for the extra that it needs may not be installed.
        from chat_protocol.client.tls import tls_endpoint
    except ImportError:
        raise UsageError(
            "TLS needs what is not installed: pip install 'chat-protocol[tls]'"
        ) from None
    try:
        return tls_endpoint(
            reactor, host, port, authorities=tls.authorities, certificate=tls.certificate
        )
    except CertificateUnusable as error:
        raise UsageError(str(error)) from error


def parse_server(text: str, tls: TLS | None = None) -> Server:
    """Read HOST, HOST:PORT, [IPv6]:PORT, an IPv6 address, or a Twisted client endpoint string.

    Args:
        text: what to read.
        tls: how to speak TLS, for all but endpoint strings, which say so themselves.

    Raises:
        UsageError: it is none of them.
    """
    match = _HOST_AND_PORT.fullmatch(text)
    if match is not None:
        port = int(match["port"] or DEFAULT_PORT)
        if not 0 < port < 0x10000:
            raise UsageError(f"--server {text}: there is no port {port}; ports are 1 to 65535")
        if match["six"] is not None and not _is_ipv6(match["six"]):
            raise UsageError(f"--server {text}: in the brackets there is no IPv6 address")
        return Server(text, (match["six"] or match["host"], port), tls)
    if _is_ipv6(text):
        return Server(text, (text, DEFAULT_PORT), tls)
    if ":" in text:
        if not text.isprintable() and not text.startswith("unix:"):
            raise UsageError(f"--server {text!r}: an endpoint has no such characters")
        if tls is not None:
            raise UsageError(
                f"--server {text}: with --tls, --ca or --certificate give HOST or HOST:PORT"
            )
        return Server(text, None)
    raise UsageError(
        f"--server {text!r}: give HOST, HOST:PORT, [IPV6]:PORT or an endpoint like unix:/path"
    )


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
