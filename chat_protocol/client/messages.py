"""What the client library hands to the application."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from chat_protocol.client.timestamps import moment

__all__ = ["ReceivedMessage"]


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message from another user, as it came: text and names are not safe for a terminal."""

    sender: str
    text: str
    time: int
    """What the sender put there, a uint64 of no certain unit."""
    recipient: str

    @property
    def sent_at(self) -> datetime | None:
        """The moment that ``time`` most likely means; see :func:`moment`."""
        return moment(self.time)
