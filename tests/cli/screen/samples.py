"""Sample messages and models for the screen tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from twisted.internet.task import Clock

from chat_protocol.cli.screen.capabilities import Capabilities, Row
from chat_protocol.cli.screen.conversations import Conversation
from chat_protocol.cli.screen.entries import Entry, EntryKind
from chat_protocol.cli.screen.model import Model
from chat_protocol.client import ReceivedMessage

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
NANOSECONDS = 10**9


def timestamp(minutes: int = 0) -> int:
    """Return the message time this many minutes after noon."""
    return int((NOON + timedelta(minutes=minutes)).timestamp()) * NANOSECONDS


def message(
    text: str,
    sender: str = "bob",
    to: Sequence[str] = ("alice",),
    offset: int = 0,
    minutes: int = 0,
    everyone: bool = False,
) -> ReceivedMessage:
    return ReceivedMessage(sender, text, timestamp(minutes), tuple(to), everyone, offset)


def entry(
    text: str, kind: EntryKind = EntryKind.RECEIVED, sender: str = "bob", minutes: int = 0
) -> Entry:
    return Entry(kind, text, NOON + timedelta(minutes=minutes), sender)


def conversation(*texts: str) -> Conversation:
    """Return a conversation with one message per minute."""
    made = Conversation(("bob",))
    for number, text in enumerate(texts):
        made.add(Entry.of(message(text, offset=number + 1, minutes=number), "alice"))
    return made


class Sample:
    """A model with its clock, counting the rings."""

    def __init__(self, capabilities: Capabilities | None = None) -> None:
        self.clock = Clock()
        self.rings = 0
        self.model = Model(
            "alice",
            "example:5555",
            self.clock.seconds,
            capabilities or Capabilities(),
            ring=self._ring,
        )

    def _ring(self) -> None:
        self.rings += 1


def plain(rows: Sequence[Row]) -> list[str]:
    """Return rows without their styles."""
    return ["".join(text for _, text in row).rstrip() for row in rows]
