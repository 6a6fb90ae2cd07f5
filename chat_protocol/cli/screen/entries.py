"""What stands in a conversation: messages, and what is said about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from chat_protocol.client import ReceivedMessage

__all__ = ["Entry", "Kind", "local_time"]


class Kind(Enum):
    """What an entry is."""

    RECEIVED = auto()
    SENDING = auto()
    STORED = auto()
    FAILED = auto()
    NOTICE = auto()
    PRESENCE = auto()


_OWN = frozenset({Kind.SENDING, Kind.STORED, Kind.FAILED})
_NOTICES = frozenset({Kind.NOTICE, Kind.PRESENCE})


@dataclass(eq=False, slots=True)
class Entry:
    """A message or a notice.

    Args:
        kind: what it is; that of an own message changes.
        text: as it came: not fit for a terminal.
        time: local; None if no calendar has it.
        sender: empty for a notice.
        stamp: the time of a message as its sender wrote it; own ones are recognised by it.
        offset: the message's number on the server; 0 if it has none, or none is known.
        position: the offset behind which it stands.
        reason: why it failed.
    """

    kind: Kind
    text: str
    time: datetime | None
    sender: str = ""
    stamp: int = 0
    offset: int = 0
    position: int = 0
    reason: str = ""

    @property
    def is_own(self) -> bool:
        """Whether this user wrote it."""
        return self.kind in _OWN

    @property
    def is_notice(self) -> bool:
        """Whether it is no message."""
        return self.kind in _NOTICES

    @classmethod
    def of(cls, message: ReceivedMessage, me: str) -> Entry:
        """What the server sent, from others or of one's own."""
        kind = Kind.STORED if message.sender == me else Kind.RECEIVED
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
    """In the time zone of this machine, if its rules reach as far."""
    try:
        return None if moment is None else moment.astimezone()
    except (OverflowError, OSError, ValueError):
        return None
