"""What a server is to be, between the options and the services."""

from __future__ import annotations

from dataclasses import dataclass, field

from chat_protocol.domain.limits import Limits

__all__ = ["DEFAULT_LISTEN", "DEFAULT_STORE", "ServerConfig", "TLSConfig"]

DEFAULT_LISTEN = "tcp:5555"
DEFAULT_STORE = "sqlite:chat.db"


@dataclass(frozen=True)
class TLSConfig:
    """TLS on every endpoint."""

    certificate: str
    """Path of the certificate in PEM form, those between it and the root behind it."""

    private_key: str | None = None
    """Path of its key in PEM form, not encrypted; None: it is in the same file."""

    client_authorities: str | None = None
    """Path of the certificates of those who sign the clients', with or without revocation lists;
    None: clients are asked for no certificates."""

    required: bool = False
    """Whether connections without TLS are closed."""


@dataclass(frozen=True)
class ServerConfig:
    """One server."""

    listen: tuple[str, ...] = (DEFAULT_LISTEN,)
    """Server endpoint strings."""

    store: str = DEFAULT_STORE
    """The URL of the store."""

    status_interval: float = 10.0
    """Seconds between two looks at who is on-line for the log; 0: none."""

    limits: Limits = field(default_factory=Limits)

    tls: TLSConfig | None = None
    """None: no TLS but on endpoints that have it of their own, such as ssl:."""

    status: tuple[str, ...] = ()
    """Server endpoint strings for the pages about the server."""

    retention: float = 0
    """Seconds for which messages are kept, at least; 0: for ever."""

    web: bool = True
    """Whether the page and its WebSocket are on every endpoint."""
