"""What a server is to be, between the options and the services."""

from __future__ import annotations

from dataclasses import dataclass, field

from chat_protocol.domain.limits import Limits

__all__ = ["DEFAULT_LISTEN", "DEFAULT_STORE", "ServerConfig"]

DEFAULT_LISTEN = "tcp:5555"
DEFAULT_STORE = "sqlite:chat.db"


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
