"""What the client library hands to the application."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from chat_protocol.client.timestamps import moment
from chat_protocol.wire.commands import Deliver, Message, Scope, StoredMessage, UserStatus

__all__ = ["ReceivedMessage", "ResumeState", "UserInfo"]


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message as it came: text and names are not safe for a terminal."""

    sender: str
    text: str
    time: int
    """What the sender put there, a uint64 of no certain unit."""
    recipients: tuple[str, ...]
    """Whom it was sent to; empty if that is everyone."""
    everyone: bool = False
    offset: int = 0
    """The message's number, the same for all and for ever (clause S41); 0 in version 1."""

    @property
    def sent_at(self) -> datetime | None:
        """The moment that ``time`` most likely means; see :func:`moment`."""
        return moment(self.time)

    @classmethod
    def of(cls, command: Message | Deliver | StoredMessage) -> ReceivedMessage:
        """From what the server sent."""
        if isinstance(command, Message):
            return cls(command.from_, command.message, command.time, (command.to,))
        everyone = command.scope == Scope.EVERYONE
        return cls(
            command.from_, command.message, command.time, command.to, everyone, command.offset
        )


@dataclass(frozen=True, slots=True)
class UserInfo:
    """A user of the server."""

    name: str
    online: bool
    last_login: int
    """Nanoseconds since the epoch, by the server's clock."""

    @classmethod
    def of(cls, status: UserStatus) -> UserInfo:
        """From what the server sent."""
        return cls(status.username, bool(status.online), status.last_login)


@dataclass(frozen=True, slots=True)
class ResumeState:
    """What a client has to remember to go on where another process of it has ended."""

    publishing_id: int = 0
    """The highest publishing id that was given to a message."""
    offset: int = 0
    """The highest offset whose message the application has taken; those up to it are dropped."""
    session: str = field(default="", repr=False)
    """The token of the session, a secret; with it a session that died unnoticed is taken over."""
