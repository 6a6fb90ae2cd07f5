"""Messages and models for the tests of the screen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from twisted.internet.task import Clock

from chat_protocol.cli.screen.capabilities import Look, Row
from chat_protocol.cli.screen.conversations import Talk
from chat_protocol.cli.screen.entries import Entry, Kind
from chat_protocol.cli.screen.model import Model
from chat_protocol.client import ReceivedMessage

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
NANOSECONDS = 10**9


def stamp(minutes: int = 0) -> int:
    """So many minutes after noon, as messages have it."""
    return int((NOON + timedelta(minutes=minutes)).timestamp()) * NANOSECONDS


def message(
    text: str,
    sender: str = "bob",
    to: Sequence[str] = ("alice",),
    offset: int = 0,
    minutes: int = 0,
    everyone: bool = False,
) -> ReceivedMessage:
    return ReceivedMessage(sender, text, stamp(minutes), tuple(to), everyone, offset)


def entry(text: str, kind: Kind = Kind.RECEIVED, sender: str = "bob", minutes: int = 0) -> Entry:
    return Entry(kind, text, NOON + timedelta(minutes=minutes), sender)


def talk(*texts: str) -> Talk:
    """A conversation with a message of one minute after the other."""
    made = Talk(("bob",))
    for number, text in enumerate(texts):
        made.add(Entry.of(message(text, offset=number + 1, minutes=number), "alice"))
    return made


class Sample:
    """A model, its clock, and how often it changed and rang."""

    def __init__(self, look: Look | None = None) -> None:
        self.clock = Clock()
        self.rings = 0
        self.model = Model(
            "alice", "example:5555", self.clock.seconds, look or Look(), ring=self._ring
        )

    def _ring(self) -> None:
        self.rings += 1


def plain(rows: Sequence[Row]) -> list[str]:
    """Rows without their styles."""
    return ["".join(text for _, text in row).rstrip() for row in rows]
