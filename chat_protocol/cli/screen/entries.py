"""Entries of a conversation: messages and notices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from chat_protocol.client import ReceivedMessage

__all__ = ["Entry", "EntryKind", "local_time"]


class EntryKind(Enum):
    """The kind and delivery state of an entry."""

    RECEIVED = auto()
    SENDING = auto()
    STORED = auto()
    FAILED = auto()
    NOTICE = auto()
    PRESENCE = auto()


_OWN = frozenset({EntryKind.SENDING, EntryKind.STORED, EntryKind.FAILED})
_NOTICES = frozenset({EntryKind.NOTICE, EntryKind.PRESENCE})


@dataclass(eq=False, slots=True)
class Entry:
    """A message or a notice.

    Args:
        kind: kind and delivery state; the state of an own message changes.
        text: as received, not sanitized for a terminal.
        time: local time; None if it is outside the calendar.
        sender: empty for a notice.
        timestamp: the sender's timestamp; it identifies own messages.
        offset: the message's number on the server; 0 if unknown.
        position: the offset after which the entry is sorted.
        reason: why sending failed.
    """

    kind: EntryKind
    text: str
    time: datetime | None
    sender: str = ""
    timestamp: int = 0
    offset: int = 0
    position: int = 0
    reason: str = ""

    @property
    def is_own(self) -> bool:
        """Whether this user sent it."""
        return self.kind in _OWN

    @property
    def is_notice(self) -> bool:
        """Whether it is a notice rather than a message."""
        return self.kind in _NOTICES

    @classmethod
    def of(cls, message: ReceivedMessage, me: str) -> Entry:
        """Convert a message from the server, received or own."""
        kind = EntryKind.STORED if message.sender == me else EntryKind.RECEIVED
        return cls(
            kind,
            message.text,
            local_time(message.sent_at),
            message.sender,
            message.time,
            message.offset,
            message.offset,
        )


def local_time(moment: datetime | None) -> datetime | None:
    """Convert to the local time zone; None if its rules do not cover the time."""
    try:
        return None if moment is None else moment.astimezone()
    except (OverflowError, OSError, ValueError):
        return None
