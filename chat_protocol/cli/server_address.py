"""The server address given by ``--server``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.usage import UsageError

from chat_protocol.errors import CertificateUnusable

__all__ = ["DEFAULT_PORT", "ServerAddress", "TLSOptions", "parse_server"]

DEFAULT_PORT = 5555

_HOST_AND_PORT = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]/\s]+))(?::(?P<port>\d+))?")


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """TLS settings; the server is always verified."""

    authorities: str | None = None
    """Path of the trusted CA certificates; None: those of the system."""
    certificate: str | None = None
    """Path of the client certificate and its private key."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """The address of a server."""

    text: str
    """As the user wrote it."""
    address: tuple[str, int] | None
    """Host and port; None if ``text`` is an endpoint string."""
    tls: TLSOptions | None = None
    """TLS settings; only with host and port."""

    @property
    def key(self) -> str:
        """Tells this server from others."""
        if self.address is None:
            return self.text
        host, port = self.address
        return f"{host.lower()}:{port}"

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """Return the client endpoint.

        Raises:
            UsageError: the address or a certificate file is not usable.
        """
        if self.address is not None:
            host, port = self.address
            if self.tls is not None:
                return _make_tls_endpoint(reactor, host, port, self.tls)
            return HostnameEndpoint(reactor, host, port)
        try:
            endpoint: IStreamClientEndpoint = clientFromString(  # type: ignore[no-untyped-call]
                reactor, self.text
            )
        except Exception as error:
            # Endpoint parsers, some of them plugins, raise arbitrary exceptions.
            hint = (
                "; for TLS install 'twisted[tls]'" if self.text.startswith(("tls:", "ssl:")) else ""
            )
            raise UsageError(
                f"--server {self.text}: not a usable endpoint ({error}){hint}"
            ) from error
        return endpoint


def _make_tls_endpoint(
    reactor: Any, host: str, port: int, tls: TLSOptions
) -> IStreamClientEndpoint:
    try:
        # Imported here because it needs the optional extra.
        from chat_protocol.client.tls import tls_endpoint
    except ImportError:
        raise UsageError(
            "TLS support is not installed; run: pip install 'chat-protocol[tls]'"
        ) from None
    try:
        return tls_endpoint(
            reactor, host, port, authorities=tls.authorities, certificate=tls.certificate
        )
    except CertificateUnusable as error:
        raise UsageError(str(error)) from error


def parse_server(text: str, tls: TLSOptions | None = None) -> ServerAddress:
    """Parse HOST, HOST:PORT, [IPv6]:PORT, an IPv6 address, or a Twisted client endpoint string.

    Args:
        text: the address.
        tls: TLS settings for host and port; an endpoint string contains its own.

    Raises:
        UsageError: the address is not valid.
    """
    match = _HOST_AND_PORT.fullmatch(text)
    if match is not None:
        port = int(match["port"] or DEFAULT_PORT)
        if not 0 < port < 0x10000:
            raise UsageError(f"--server {text}: port {port} is out of range; use 1 to 65535")
        if match["six"] is not None and not _is_ipv6(match["six"]):
            raise UsageError(f"--server {text}: the brackets must hold an IPv6 address")
        return ServerAddress(text, (match["six"] or match["host"], port), tls)
    if _is_ipv6(text):
        return ServerAddress(text, (text, DEFAULT_PORT), tls)
    if ":" in text:
        if not text.isprintable() and not text.startswith("unix:"):
            raise UsageError(f"--server {text!r}: the endpoint contains invalid characters")
        if tls is not None:
            raise UsageError(
                f"--server {text}: --tls, --ca and --certificate need HOST or HOST:PORT"
            )
        return ServerAddress(text, None)
    raise UsageError(
        f"--server {text!r}: not an address; give HOST, HOST:PORT, [IPV6]:PORT "
        "or an endpoint like unix:/path"
    )


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
