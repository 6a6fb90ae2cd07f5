"""A conversation: its entries, its unread count and its scroll position."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from chat_protocol.cli.screen.entries import Entry, EntryKind

__all__ = [
    "EVERYONE",
    "HOME",
    "SCROLLBACK",
    "SCROLLBACK_TEXT",
    "SCROLLBACK_WHILE_SCROLLED",
    "Conversation",
    "partners_of",
]

SCROLLBACK = 2_000
"""Maximum number of entries in a conversation; the server keeps older ones."""

SCROLLBACK_TEXT = 1_000_000
"""Maximum number of characters in a conversation."""

SCROLLBACK_WHILE_SCROLLED = 5 * SCROLLBACK
"""Maximum number of entries while the conversation is scrolled up."""

_SLACK = 100
"""Entries beyond the limit before trimming, so that not every message moves all entries."""

HOME: tuple[str, ...] = ("",)
"""The partners of the home conversation, which shows the client's notices. No username is empty."""

EVERYONE: tuple[str, ...] = ()
"""The partners of the conversation with all users."""


def partners_of(
    sender: str, recipients: tuple[str, ...], everyone: bool, me: str
) -> tuple[str, ...]:
    """Return the partners of a message's conversation: sender and recipients without this user."""
    if everyone:
        return EVERYONE
    others = {sender, *recipients} - {me}
    return tuple(sorted(others)) or (me,)


@dataclass(eq=False)
class Conversation:
    """A conversation with a set of partners.

    Args:
        partners: usernames; see HOME and EVERYONE.
    """

    partners: tuple[str, ...]
    entries: list[Entry] = field(default_factory=list)
    unread: int = 0
    new_from: Entry | None = None
    """First new entry; a separator is shown above it."""
    last_activity: int = 0
    """Sequence number of the last message; the highest is the most recently active conversation."""
    draft: str = ""
    """Text typed but not sent when another conversation was shown."""
    bottom: Entry | None = None
    """The last visible entry; None: the end, following new entries."""
    rows_hidden: int = 0
    """Rows of the last visible entry that are below the screen."""
    new_below: int = 0
    """Messages received while the conversation is scrolled up."""
    scanned: int = 0
    """Lowest offset that history requests have reached; 0: none was made."""
    complete: bool = False
    """Whether all older history is loaded."""
    loading: bool = False
    _by_offset: dict[int, Entry] = field(default_factory=dict)
    _by_timestamp: dict[int, Entry] = field(default_factory=dict)
    _size: int = 0

    @property
    def is_home(self) -> bool:
        """Whether this is the home conversation."""
        return self.partners == HOME

    @property
    def at_end(self) -> bool:
        """Whether the end is visible."""
        return self.bottom is None

    @property
    def oldest(self) -> int:
        """The lowest offset that is loaded or scanned; 0 if there is none."""
        first = next((entry.offset for entry in self.entries if entry.offset), 0)
        known = [offset for offset in (first, self.scanned) if offset]
        return min(known, default=0)

    def has(self, offset: int) -> bool:
        """Whether the message with this offset is loaded."""
        return offset in self._by_offset

    def add(self, entry: Entry) -> Entry:
        """Insert an entry in order; return the existing entry if it is a duplicate."""
        if entry.offset:
            if entry.offset in self._by_offset:
                return self._by_offset[entry.offset]
            own_entry = self._by_timestamp.get(entry.timestamp) if entry.is_own else None
            if own_entry is not None and not own_entry.offset:
                # Found in the history: it is stored, and its offset is known now.
                own_entry.offset = entry.offset
                own_entry.kind = EntryKind.STORED
                self._by_offset[entry.offset] = own_entry
                return own_entry
            self._by_offset[entry.offset] = entry
        elif self.entries:
            entry.position = self.entries[-1].position
        if entry.is_own and entry.timestamp:
            self._by_timestamp[entry.timestamp] = entry
        self._size += len(entry.text)
        if not self.entries or self.entries[-1].position <= entry.position:
            self.entries.append(entry)
        else:
            index = bisect_right(self.entries, entry.position, key=lambda one: one.position)
            self.entries.insert(index, entry)
        return entry

    def trim(self) -> None:
        """Drop the oldest entries beyond the limits."""
        limit = SCROLLBACK if self.at_end else SCROLLBACK_WHILE_SCROLLED
        count = len(self.entries)
        if count <= limit + _SLACK and self._size <= SCROLLBACK_TEXT:
            return
        first = max(0, count - limit)
        size = self._size - sum(len(entry.text) for entry in self.entries[:first])
        while size > SCROLLBACK_TEXT and first < count - 1:
            size -= len(self.entries[first].text)
            first += 1
        if self.bottom is not None and self.bottom in self.entries[:first]:
            # The visible entry is dropped: show the oldest that is left.
            self.bottom, self.rows_hidden = self.entries[first], 0
        for entry in self.entries[:first]:
            self._by_offset.pop(entry.offset, None)
            self._by_timestamp.pop(entry.timestamp, None)
        del self.entries[:first]
        self._size = size
        if first:
            self.complete, self.scanned = False, 0

    @property
    def is_full(self) -> bool:
        """Whether no more history fits."""
        return len(self.entries) >= SCROLLBACK_WHILE_SCROLLED or self._size >= SCROLLBACK_TEXT

    def mark_read(self) -> None:
        """Mark all messages as read."""
        self.unread = self.new_below = 0
