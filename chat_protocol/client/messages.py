"""Data types that the client library returns to the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chat_protocol.client.timestamps import moment
from chat_protocol.wire.commands import Deliver, Message, Scope, StoredMessage, UserStatus

__all__ = ["ReceivedMessage", "ResumeState", "UserInfo"]


@dataclass(frozen=True)
class ReceivedMessage:
    """A message as received. Text and names are not sanitized for a terminal."""

    # No field: not part of what the message is.
    _send = None

    sender: str
    text: str
    time: int
    """Timestamp from the sender, a uint64 of unknown unit."""
    recipients: tuple[str, ...]
    """All recipients; empty if the message went to everyone."""
    everyone: bool = False
    offset: int = 0
    """The message's number, permanent and the same for all users (clause S41); 0 in version 1."""
    own: bool = False
    """Whether the user itself has sent it: from another device, or to itself; in the
    history also from this device."""

    def reply(self, text: str) -> Any:
        """Send a text to the sender, as ``send`` of the client that has received this message does.

        The result is that of ``send``: a Deferred, a coroutine, or None from a client that blocks.

        Raises:
            ValueError: no client has received it.
        """
        if self._send is None:
            raise ValueError("only a message that a client has received can be replied to")
        return self._send(self.sender, text)

    def replied_by(self, send: Callable[[str, str], Any]) -> ReceivedMessage:
        """Have :meth:`reply` call ``send``; return this message."""
        object.__setattr__(self, "_send", send)
        return self

    @property
    def sent_at(self) -> datetime | None:
        """The time that ``time`` most likely means; see :func:`moment`."""
        return moment(self.time)

    @classmethod
    def of(cls, command: Message | Deliver | StoredMessage, username: str) -> ReceivedMessage:
        """Convert a command from the server to a user; the name is in its normal form."""
        own = command.from_ == username
        if isinstance(command, Message):
            return cls(command.from_, command.message, command.time, (command.to,), own=own)
        everyone = command.scope == Scope.EVERYONE
        return cls(
            command.from_, command.message, command.time, command.to, everyone, command.offset, own
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
        """Convert an item of the server's answer."""
        return cls(status.username, bool(status.online), status.last_login)


@dataclass(frozen=True, slots=True)
class ResumeState:
    """State that a later process needs to resume where this one ended."""

    publishing_id: int = 0
    """Highest publishing id that this client has assigned; the server's ``publishing-id`` is the
    highest one that is stored."""
    offset: int = 0
    """Highest offset that the application has taken. Messages up to it are dropped as duplicates.
    """
    session: str = field(default="", repr=False)
    """The session token, a secret. It lets a client take over its own session that died unnoticed,
    and lets another device of the user log in."""
    device: str = ""
    """The device that the other fields belong to."""
