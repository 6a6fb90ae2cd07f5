"""A mailbox of the store that is in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from chat_protocol.domain.entries import Entry

__all__ = ["Mailbox"]


class Mailbox:
    """Messages that wait for a user, oldest first, as the entries in which they came."""

    __slots__ = ("_entries", "_taken", "count")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._taken = 0
        """The last offset that was removed. The first entry may begin below it: to cut the entry
        each time would cost more."""
        self.count = 0
        """Messages that wait."""

    def append(self, entry: Entry) -> None:
        """Append messages with offsets above all that were ever here."""
        self._entries.append(entry)
        self.count += len(entry.frames)

    def take(self, offset: int) -> None:
        """Remove everything up to this offset."""
        entries, taken = self._entries, self._taken
        if offset <= taken:
            return
        while entries and entries[0].offset <= offset:
            first = entries[0]
            begin, end = first.offset, first.offset + len(first.frames)
            self.count -= min(end, offset + 1) - max(begin, taken + 1)
            if end > offset + 1:
                break
            entries.popleft()
        self._taken = offset

    def behind(self, offset: int) -> Iterator[Entry]:
        """Iterate over what waits behind this offset."""
        after = max(offset, self._taken)
        for entry in self._entries:
            if entry.offset > after:
                yield entry
            elif entry.end - 1 > after:
                yield _behind(entry, after)


def _behind(entry: Entry, offset: int) -> Entry:
    """Return the messages of an entry that are behind an offset."""
    return entry.between(offset + 1, entry.end)
