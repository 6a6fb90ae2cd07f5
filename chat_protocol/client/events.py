"""What a client tells its observers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chat_protocol.errors import ChatError

__all__ = ["Ended", "Event", "Observer", "Offline", "Online", "PresenceChanged"]


@dataclass(frozen=True, slots=True)
class Online:
    """Logged in, for the first time or again."""

    version: int
    """Of the protocol. With 1 nothing is promised that version 1 cannot: a message whose answer
    is lost fails, stored or not; what arrived and was not taken is lost with the process; there
    are no users, no history, no presence and no sending to everyone."""
    pending: int
    """Messages that waited in the mailbox at the login; 0 in version 1, which does not tell."""


@dataclass(frozen=True, slots=True)
class Offline:
    """The connection is lost or could not be had; the client goes on trying."""

    reason: ChatError
    retry_in: float
    """Seconds until the next attempt."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The client has stopped and tries no more."""

    reason: ChatError | None
    """None: it was stopped by the application."""


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Another user came or went; for clients that asked for it, in version 2."""

    username: str
    online: bool
    time: int
    """Nanoseconds since the epoch, by the server's clock."""


Event = Online | Offline | Ended | PresenceChanged
Observer = Callable[[Event], object]
