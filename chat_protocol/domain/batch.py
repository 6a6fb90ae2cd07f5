"""What goes to a store and comes back: the unit is a batch, not a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from chat_protocol.domain.stored import MESSAGE_OVERHEAD, Stored, StoredRun, Waiting
from chat_protocol.wire.codes import Code

if TYPE_CHECKING:
    from chat_protocol.domain.directory import User
    from chat_protocol.domain.session import Claim, Session

__all__ = [
    "Account",
    "Batch",
    "Conversation",
    "Lookup",
    "Page",
    "Publication",
    "Query",
    "Registration",
    "Run",
    "UserList",
]


class Run:
    """Messages from one session to one recipient, one behind the other: Messages of version 1, or
    Publishes of version 2.

    Made by the session; ``offset``, ``accepted`` and ``refusal`` are the store's answer.
    """

    __slots__ = (
        "accepted",
        "correlation_ids",
        "detail",
        "frames",
        "live",
        "offset",
        "publishing_id",
        "recipient",
        "recipient_id",
        "refusal",
        "sender",
        "size",
        "texts",
        "version",
        "waits",
    )

    def __init__(
        self,
        sender: Session,
        recipient: User,
        correlation_ids: list[bytes],
        texts: list[bytes],
        frames: list[bytes],
        size: int,
        version: int = 1,
        publishing_id: int = 0,
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
        """The recipient's session that gets them as soon as they are stored."""
        self.waits = True
        """Whether they enter the mailbox; not needed where handing them over is all there is
        to delivery."""
        self.version = version
        """In which the answers are to be."""
        self.publishing_id = publishing_id
        """Of the first Publish, the others follow one by one; none of them, nor a higher one, was
        ever stored for this user. 0: they have none."""
        self.recipient_id = recipient.id
        """0: the store finds it by name."""
        self.offset = 0
        """Of the first message; the others follow one by one."""
        self.accepted = 0
        """So many from the front were stored; the others met ``refusal``."""
        self.refusal = Code.OK
        self.detail = ""

    def refuse(self, code: Code, detail: str) -> None:
        """Nothing of it is stored."""
        self.accepted = 0
        self.refuse_rest(code, detail)

    def refuse_rest(self, code: Code, detail: str) -> None:
        """What is not accepted is not stored."""
        self.refusal = code
        self.detail = detail

    def stored(self) -> StoredRun:
        """The accepted messages; at least one is."""
        frames = self.frames if self.accepted == len(self.frames) else self.frames[: self.accepted]
        return StoredRun(self.offset, self.sender.user.name, self.recipient.name, frames)


class Publication:
    """One version 2 message, to several users or to everyone.

    Made by the session; ``offset``, ``refusal``, ``detail`` and ``recipient_ids`` are the
    store's answer.
    """

    __slots__ = (
        "_deliver_frames",
        "correlation_id",
        "detail",
        "live",
        "offset",
        "publishing_id",
        "recipient_ids",
        "recipients",
        "refusal",
        "scope",
        "sender",
        "size",
        "text",
        "time",
        "version",
    )

    def __init__(
        self,
        sender: Session,
        correlation_id: bytes,
        publishing_id: int,
        text: bytes,
        scope: int,
        recipients: tuple[User, ...],
        time: int,
    ) -> None:
        self.sender = sender
        self.correlation_id = correlation_id
        self.publishing_id = publishing_id
        """0: it is stored whatever was stored before."""
        self.text = text
        self.scope = scope
        self.recipients = recipients
        """Each once, in the order of the sender; empty where it goes to everyone."""
        self.time = time
        self.size = len(text) + MESSAGE_OVERHEAD * (1 + len(recipients))
        self.size += sum(len(user.name) for user in recipients)
        self.version = 2
        self.live: list[Session] = []
        """The recipients' sessions that get it as soon as it is stored. It enters the
        mailboxes all the same."""
        self.recipient_ids: list[int] = []
        self.offset = 0
        """0: it was stored before under its publishing id, or refused."""
        self.refusal = Code.OK
        self.detail = ""
        self._deliver_frames: list[bytes] | None = None

    def refuse(self, code: Code, detail: str) -> None:
        """Nobody gets it."""
        self.refusal = code
        self.detail = detail
        self.offset = 0

    def stored(self) -> Stored:
        """The message, where it was accepted."""
        to = tuple(user.name for user in self.recipients)
        return Stored(self.offset, self.sender.user.name, self.time, self.text, self.scope, to)

    def deliver_frames(self) -> list[bytes]:
        """The accepted message, encoded once for all sessions of version 2."""
        if self._deliver_frames is None:
            self._deliver_frames = self.stored().deliver_frames()
        return self._deliver_frames


class Registration:
    """A login: the user is made known if new, and the time of the login kept.

    ``user_id``, ``number`` and ``failed`` are the store's answer.
    """

    __slots__ = ("failed", "name", "number", "shown", "token", "user_id", "when")

    def __init__(self, name: str, when: int, token: str = "", shown: str = "") -> None:
        self.name = name
        self.when = when
        """Nanoseconds since the epoch."""
        self.token = token
        """Of the session that begins; empty: nobody can take it over."""
        self.shown = shown
        """The token of the session that is to be taken over; empty: none."""
        self.user_id = 0
        self.number = 0
        """Of the session, among all of them; 0: another process has the user. A store that is
        not shared gives all the same one."""
        self.failed = False
        """The store could not say."""


class Batch:
    """Changes that are stored together or not at all, in the order of the attributes."""

    __slots__ = ("messages", "registrations", "released", "returned", "taken")

    def __init__(
        self,
        registrations: list[Registration],
        messages: list[Run | Publication],
        returned: list[Waiting],
        taken: dict[int, int],
        released: list[Session | Claim] | None = None,
    ) -> None:
        self.registrations = registrations
        self.messages = messages
        self.returned = returned
        """Messages that go back to a mailbox; one that is there already stays there once."""
        self.taken = taken
        """User id -> offset: that user's mailbox loses everything up to there."""
        self.released = released or []
        """Sessions that are over; a store that is not shared need not know."""


class Lookup:
    """The id of a user, 0 if there is none of that name."""

    __slots__ = ("name", "user_id")

    def __init__(self, name: str) -> None:
        self.name = name
        self.user_id = 0


class Account:
    """What a version 2 login wants to know of its user."""

    __slots__ = ("pending", "publishing_id", "user_id")

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.publishing_id = 0
        """The highest under which a message of the user's is stored."""
        self.pending = 0
        """Messages that wait."""


class UserList:
    """Users with names above one, in the order of their names' bytes."""

    __slots__ = ("after", "limit", "online", "users")

    def __init__(self, after: str, limit: int) -> None:
        self.after = after
        self.limit = limit
        self.users: list[tuple[str, int]] = []
        """Name and last login, in nanoseconds since the epoch."""
        self.online: set[str] | None = None
        """Who of them has a session; None: this process knows them all."""


class Conversation:
    """The newest messages below an offset between a user and another, or anybody.

    A message is between its sender and each of its recipients.
    """

    __slots__ = ("before", "limit", "max_bytes", "messages", "user_id", "with_id")

    def __init__(self, user_id: int, with_id: int, before: int, limit: int, max_bytes: int) -> None:
        self.user_id = user_id
        self.with_id = with_id
        """0: anybody."""
        self.before = before
        """0: no bound."""
        self.limit = limit
        self.max_bytes = max_bytes
        """Of text: older messages that would exceed it are left out, but not the newest."""
        self.messages: list[Stored] = []
        """Oldest first."""


class Page:
    """The oldest messages of a mailbox behind an offset.

    A store that reads it starts with :meth:`clear` and adds what waits, in the order of the
    offsets, until there is no more room.
    """

    __slots__ = (
        "_size",
        "after",
        "complete",
        "count",
        "max_bytes",
        "max_messages",
        "parts",
        "user_id",
    )

    def __init__(self, user_id: int, after: int, max_messages: int, max_bytes: int) -> None:
        self.user_id = user_id
        self.after = after
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        """The page ends with the message that reaches it."""
        self.clear()

    def clear(self) -> None:
        """Nothing is known of the mailbox."""
        self.parts: list[Stored | StoredRun] = []
        self.count = 0
        """Messages in the parts."""
        self.complete = True
        """Nothing stands behind these."""
        self._size = 0

    def add(self, part: Stored | StoredRun) -> bool:
        """Append what comes next; False if there was no room for all of it."""
        if self.count >= self.max_messages or self._size >= self.max_bytes:
            self.complete = False
            return False
        end = part.end
        if isinstance(part, StoredRun):
            part = part.front(self.max_messages - self.count, self.max_bytes - self._size)
        self.parts.append(part)
        self._size += part.size
        self.count += part.end - part.offset
        self.complete = part.end == end
        return self.complete

    @property
    def messages(self) -> list[Stored]:
        """One by one."""
        return [message for part in self.parts for message in part.messages()]


Query: TypeAlias = Page | Lookup | Account | UserList | Conversation
"""What a store can be asked."""
