"""A conversation: what was said in it, what is new, and which part of it is shown."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from chat_protocol.cli.screen.entries import Entry, Kind

__all__ = ["EVERYONE", "HOME", "READING", "SCROLLBACK", "SCROLLBACK_TEXT", "Talk", "partners_of"]

SCROLLBACK = 2_000
"""Entries that a conversation keeps; the server has the others."""

SCROLLBACK_TEXT = 1_000_000
"""Characters that it keeps."""

READING = 5 * SCROLLBACK
"""Entries that it keeps while somebody reads further up."""

_SLACK = 100
"""Entries beyond the limit, so that not each message moves all others."""

HOME: tuple[str, ...] = ("",)
"""The partners in the conversation with nobody: what the client itself says. No name is empty."""

EVERYONE: tuple[str, ...] = ()
"""The partners in the conversation with every user."""


def partners_of(
    sender: str, recipients: tuple[str, ...], everyone: bool, me: str
) -> tuple[str, ...]:
    """The conversation a message belongs to: all it is from and to, but for this user."""
    if everyone:
        return EVERYONE
    others = {sender, *recipients} - {me}
    return tuple(sorted(others)) or (me,)


@dataclass(eq=False)
class Talk:
    """A conversation.

    Args:
        partners: with whom; see HOME and EVERYONE.
    """

    partners: tuple[str, ...]
    entries: list[Entry] = field(default_factory=list)
    unread: int = 0
    new_from: Entry | None = None
    """Above it a line says that from there on it is new."""
    touched: int = 0
    """Grows with each message in any conversation: the greatest was the last."""
    draft: str = ""
    """What was typed when another conversation was shown."""
    bottom: Entry | None = None
    """The last entry that is shown; None: the end, whatever comes."""
    hidden: int = 0
    """Rows of the bottom that are below the screen."""
    below: int = 0
    """Messages that came while somebody read further up."""
    scanned: int = 0
    """The offset above which history was asked for; 0: never."""
    complete: bool = False
    """Whether there is no history above."""
    loading: bool = False
    dropped: bool = False
    """Whether entries were given up for the limit; they are history that can be loaded again."""
    _offsets: dict[int, Entry] = field(default_factory=dict)
    _stamps: dict[int, Entry] = field(default_factory=dict)
    _size: int = 0

    @property
    def is_home(self) -> bool:
        """Whether nobody is in it."""
        return self.partners == HOME

    @property
    def follows(self) -> bool:
        """Whether the end is shown."""
        return self.bottom is None

    @property
    def oldest(self) -> int:
        """The smallest offset it has or has looked at; 0 if there is none."""
        first = next((entry.offset for entry in self.entries if entry.offset), 0)
        known = [offset for offset in (first, self.scanned) if offset]
        return min(known, default=0)

    def has(self, offset: int) -> bool:
        """Whether the message with that number is here."""
        return offset in self._offsets

    def add(self, entry: Entry) -> Entry:
        """Put an entry where it belongs; returns the one that is here already, if one is."""
        if entry.offset:
            if entry.offset in self._offsets:
                return self._offsets[entry.offset]
            own = self._stamps.get(entry.stamp) if entry.is_own else None
            if own is not None and not own.offset:
                # It came back in the history: now its number is known, and that it is stored.
                own.offset = entry.offset
                own.kind = Kind.STORED
                self._offsets[entry.offset] = own
                return own
            self._offsets[entry.offset] = entry
        elif self.entries:
            entry.position = self.entries[-1].position
        if entry.is_own and entry.stamp:
            self._stamps[entry.stamp] = entry
        self._size += len(entry.text)
        if not self.entries or self.entries[-1].position <= entry.position:
            self.entries.append(entry)
        else:
            index = bisect_right(self.entries, entry.position, key=lambda one: one.position)
            self.entries.insert(index, entry)
        return entry

    def trim(self) -> None:
        """Give up the oldest entries beyond the limits."""
        most = SCROLLBACK if self.follows else READING
        count = len(self.entries)
        if count <= most + _SLACK and self._size <= SCROLLBACK_TEXT:
            return
        first = max(0, count - most)
        size = self._size - sum(len(entry.text) for entry in self.entries[:first])
        while size > SCROLLBACK_TEXT and first < count - 1:
            size -= len(self.entries[first].text)
            first += 1
        if self.bottom is not None and self.bottom in self.entries[:first]:
            # What is read goes away under the eyes: show what is left of it.
            self.bottom, self.hidden = self.entries[first], 0
        for entry in self.entries[:first]:
            self._offsets.pop(entry.offset, None)
            self._stamps.pop(entry.stamp, None)
        del self.entries[:first]
        self._size = size
        if first:
            self.dropped, self.complete, self.scanned = True, False, 0

    @property
    def full(self) -> bool:
        """Whether no more history fits in."""
        return len(self.entries) >= READING or self._size >= SCROLLBACK_TEXT

    def seen(self) -> None:
        """All of it was looked at."""
        self.unread = self.below = 0
