"""Events that a client reports to its observers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chat_protocol.errors import ChatError

__all__ = ["Ended", "Event", "Observer", "Offline", "Online", "PresenceChanged"]


@dataclass(frozen=True, slots=True)
class Online:
    """The client has logged in, for the first time or again."""

    version: int
    """Protocol version of the session. With version 1, delivery guarantees are weaker: a message
    whose answer is lost fails, stored or not; received messages that the application has not taken
    are lost with the process; there are no user list, history, presence or messages to everyone."""
    pending: int
    """Messages waiting in the mailbox at the login; 0 with version 1, which does not report it."""
    resumed: bool = True
    """Whether the server knew the device. If not, it does not know which of the messages of earlier
    processes are stored; those that this client had in flight have failed. If the device had a
    session before, it can have missed messages: read the history."""


@dataclass(frozen=True, slots=True)
class Offline:
    """The connection was lost or could not be established. The client keeps retrying."""

    reason: ChatError
    retry_in: float
    """Seconds until the next attempt."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The client has stopped and no longer retries."""

    reason: Exception | None
    """A ChatError, or what a callback of consume() has raised. None: the application stopped the
    client."""


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Another user went online or offline; reported in version 2 to clients that asked for
    presence."""

    username: str
    online: bool
    time: int
    """Nanoseconds since the epoch, by the server's clock."""


Event = Online | Offline | Ended | PresenceChanged
Observer = Callable[[Event], object]
