"""Queries: the caller makes one, the store fills in the answer.

If a query is asked again, the store fills in the whole answer again.
"""

from __future__ import annotations

from typing import TypeAlias

from chat_protocol.domain.entries import Entry

__all__ = ["Account", "Conversation", "Lookup", "Page", "Query", "UserList"]


class Lookup:
    """Asks for the id of a user; 0 if there is no user of that name.

    The other answers are those of a Registration with the same device.
    """

    __slots__ = ("device", "device_id", "has_devices", "known", "name", "user_id")

    def __init__(self, name: str, device: str = "") -> None:
        self.name = name
        self.device = device
        self.user_id = 0
        self.device_id = 0
        self.known = False
        self.has_devices = False


class Account:
    """Asks what a version 2 login needs to know about its user."""

    __slots__ = ("device_id", "pending", "publishing_id", "user_id")

    def __init__(self, user_id: int, device_id: int = 0) -> None:
        self.user_id = user_id
        self.device_id = device_id
        """Of the device, or of the name of a session that only asks and sends."""
        self.publishing_id = 0
        """The highest publishing id of the messages from there; 0: none."""
        self.pending = 0
        """Messages that will be delivered to the device."""


class UserList:
    """Asks for users with names above ``after``, in the order of the names' UTF-8 bytes."""

    __slots__ = ("after", "limit", "online", "users")

    def __init__(self, after: str, limit: int) -> None:
        self.after = after
        self.limit = limit
        self.users: list[tuple[str, int]] = []
        """Name and last login, in nanoseconds since the epoch."""
        self.online: set[str] | None = None
        """The names of the users who are online; None: the server itself knows all sessions."""


class Conversation:
    """Asks for the newest messages between a user and another one, or all users.

    A message is between its sender and each of its recipients.

    To fill it in, the store calls :meth:`clear`, then :meth:`add` for each entry, the newest first,
    until that returns False.
    """

    __slots__ = ("_count", "_newest", "_size", "before", "limit", "max_bytes", "user_id", "with_id")

    def __init__(self, user_id: int, with_id: int, before: int, limit: int, max_bytes: int) -> None:
        self.user_id = user_id
        self.with_id = with_id
        """0: all users."""
        self.before = before
        """An offset: only messages below it count. 0: no bound."""
        self.limit = limit
        """Messages, not entries."""
        self.max_bytes = max_bytes
        """Approximate size of the answer. Older messages that would exceed it are left out; the
        newest message never is."""
        self.clear()

    def clear(self) -> None:
        """Remove the answer."""
        self._newest: list[Entry] = []
        self._count = self._size = 0

    def add(self, entry: Entry) -> bool:
        """Put as much of an entry in front as there is room for; return whether more may fit."""
        part = entry.back(self.limit - self._count, self.max_bytes - self._size)
        if not part.frames and not self._newest:
            part = entry.between(entry.end - 1, entry.end)
        if part.frames:
            self._newest.append(part)
            self._count += len(part.frames)
            self._size += part.size
        return part is entry and self._count < self.limit

    @property
    def entries(self) -> list[Entry]:
        """The answer, oldest first."""
        return self._newest[::-1]


class Page:
    """Asks for the oldest messages of a mailbox behind an offset, as one device gets them.

    A device gets what its user has sent from other devices since its first login, but not what it
    has sent itself, unless that was to the user.

    To fill it in, the store calls :meth:`clear`, then :meth:`add` for each entry in the order of
    the offsets, until that returns False.
    """

    __slots__ = (
        "_size",
        "after",
        "complete",
        "count",
        "device_id",
        "entries",
        "max_bytes",
        "max_messages",
        "user_id",
    )

    def __init__(
        self, user_id: int, after: int, max_messages: int, max_bytes: int, device_id: int = 0
    ) -> None:
        self.user_id = user_id
        self.device_id = device_id
        self.after = after
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        """The page ends with the message that reaches this size."""
        self.clear()

    def clear(self) -> None:
        """Remove the answer."""
        self.entries: list[Entry] = []
        self.count = 0
        """Messages in the entries."""
        self.complete = True
        """Whether these entries are the last ones of the mailbox."""
        self._size = 0

    def add(self, entry: Entry) -> bool:
        """Append as much of an entry as there is room for; return whether that is all of it."""
        if self.count >= self.max_messages or self._size >= self.max_bytes:
            self.complete = False
            return False
        part = entry.front(self.max_messages - self.count, self.max_bytes - self._size)
        self.entries.append(part)
        self._size += part.size
        self.count += len(part.frames)
        self.complete = part.end == entry.end
        return self.complete


Query: TypeAlias = Page | Lookup | Account | UserList | Conversation
"""Any query."""
