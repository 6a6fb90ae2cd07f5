"""What goes to a store and comes back: the unit is a batch, not a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from chat_protocol.wire.codes import Code

if TYPE_CHECKING:
    from chat_protocol.domain.directory import User
    from chat_protocol.domain.session import Session

__all__ = ["Batch", "Lookup", "Page", "Registration", "Run", "Stored", "Waiting"]


class Stored(NamedTuple):
    """A message as a store keeps it."""

    offset: int
    """Its number: the same for all who see it, and for ever."""
    sender: str
    time: int
    """As its sender wrote it, an opaque uint64."""
    text: bytes
    """UTF-8, at most 65,535 bytes."""


class Waiting(NamedTuple):
    """A message in the mailbox of one user."""

    user_id: int
    message: Stored


class Run:
    """Messages from one session to one recipient, one behind the other.

    Made by the session; ``offset``, ``accepted`` and ``refusal`` are the store's answer.
    """

    __slots__ = (
        "accepted",
        "correlation_ids",
        "frames",
        "live",
        "offset",
        "recipient",
        "recipient_id",
        "refusal",
        "sender",
        "size",
        "texts",
    )

    def __init__(
        self,
        sender: Session,
        recipient: User,
        correlation_ids: list[bytes],
        texts: list[bytes],
        frames: list[bytes],
        size: int,
    ) -> None:
        self.sender = sender
        self.recipient = recipient
        self.correlation_ids = correlation_ids
        self.texts = texts
        self.frames = frames
        """Each text as a version 1 frame for the recipient; its last 8 bytes are the time."""
        self.size = size
        """Bytes that the frames take."""
        self.live: Session | None = None
        """The recipient's session that gets them as soon as they are stored; they then never
        enter the mailbox."""
        self.recipient_id = recipient.id
        """0: the store finds it by name."""
        self.offset = 0
        """Of the first message; the others follow one by one."""
        self.accepted = 0
        """So many from the front were stored; the others met ``refusal``."""
        self.refusal = Code.OK

    def times(self) -> list[bytes]:
        """The eight bytes of each message's time."""
        return [frame[-8:] for frame in self.frames]

    def stored(self) -> list[Stored]:
        """The accepted messages."""
        sender = self.sender.user.name
        return [
            Stored(self.offset + index, sender, int.from_bytes(frame[-8:], "big"), text)
            for index, (text, frame) in enumerate(
                zip(self.texts[: self.accepted], self.frames, strict=False)
            )
        ]


class Registration:
    """A login: the user is made known if new, and the time of the login kept."""

    __slots__ = ("name", "user_id", "when")

    def __init__(self, name: str, when: int) -> None:
        self.name = name
        self.when = when
        """Nanoseconds since the epoch."""
        self.user_id = 0


class Batch:
    """Changes that are stored together or not at all, in the order of the attributes."""

    __slots__ = ("registrations", "returned", "runs", "taken")

    def __init__(
        self,
        registrations: list[Registration],
        runs: list[Run],
        returned: list[Waiting],
        taken: dict[int, int],
    ) -> None:
        self.registrations = registrations
        self.runs = runs
        self.returned = returned
        """Messages that go back to a mailbox; one that is there already stays there once."""
        self.taken = taken
        """User id -> offset: that user's mailbox loses everything up to there."""


class Lookup:
    """The id of a user, 0 if there is none of that name."""

    __slots__ = ("name", "user_id")

    def __init__(self, name: str) -> None:
        self.name = name
        self.user_id = 0


class Page:
    """The oldest messages of a mailbox behind an offset."""

    __slots__ = ("after", "complete", "max_bytes", "max_messages", "messages", "user_id")

    def __init__(self, user_id: int, after: int, max_messages: int, max_bytes: int) -> None:
        self.user_id = user_id
        self.after = after
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        """The page ends with the message that reaches it."""
        self.messages: list[Stored] = []
        self.complete = True
        """Nothing stands behind these."""
