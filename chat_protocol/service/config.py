"""The configuration of a server, as the options specify it."""

from __future__ import annotations

from dataclasses import dataclass, field

from chat_protocol.domain.limits import Limits

__all__ = ["DEFAULT_LISTEN", "DEFAULT_STORE", "ServerConfig", "TLSConfig"]

DEFAULT_LISTEN = "tcp:5555"
DEFAULT_STORE = "sqlite:chat.db"


@dataclass(frozen=True)
class TLSConfig:
    """TLS on all endpoints."""

    certificate: str
    """Path of the PEM file with the server's certificate, followed by intermediate certificates."""

    private_key: str | None = None
    """Path of the PEM file with the unencrypted private key; None: the certificate file."""

    client_authorities: str | None = None
    """Path of the PEM file with the CAs of client certificates, optionally with revocation lists;
    None: the server does not request client certificates."""

    required: bool = False
    """Whether the server closes connections without TLS."""


@dataclass(frozen=True)
class ServerConfig:
    """The configuration of one server."""

    listen: tuple[str, ...] = (DEFAULT_LISTEN,)
    """Server endpoint strings."""

    store: str = DEFAULT_STORE
    """URL of the store."""

    status_interval: float = 10.0
    """Seconds between status lines in the log; 0: no status lines."""

    limits: Limits = field(default_factory=Limits)

    tls: TLSConfig | None = None
    """None: TLS only on endpoints that provide it themselves, such as ssl:."""

    status: tuple[str, ...] = ()
    """Server endpoint strings for metrics and health checks."""

    retention: float = 0
    """Minimum age in seconds at which messages expire; 0: messages never expire."""

    web: bool = True
    """Whether every endpoint serves the web page and its WebSocket."""

    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies that tell the addresses of their clients; see
    TrustedProxies."""
