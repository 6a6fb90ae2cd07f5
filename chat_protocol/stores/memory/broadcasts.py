"""The messages to everyone of the store that is in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from chat_protocol.domain.entries import Entry
from chat_protocol.stores.broadcast_index import BroadcastIndex

__all__ = ["Broadcasts"]


class Broadcasts:
    """Messages to everyone, as the entries in which they came, oldest first.

    Args:
        max_bytes: above it the oldest entries are dropped.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: list[Entry] = []
        self._begin = 0
        """Entries at the front that are dropped but still in the list."""
        self._size = 0
        self._index: BroadcastIndex[str] = BroadcastIndex()

    def append(self, entry: Entry) -> None:
        """Append messages with offsets above all that were ever here."""
        self._entries.append(entry)
        self._size += entry.size
        self._index.append(entry.sender, entry.offset, entry.end)
        while self._size > self._max_bytes:
            self._drop_oldest()

    def expire(self, last: int) -> bool:
        """Drop the oldest entry if its offsets are all up to ``last``; return whether it was."""
        if self._begin == len(self._entries) or _last(self._entries[self._begin]) > last:
            return False
        self._drop_oldest()
        return True

    def _drop_oldest(self) -> None:
        oldest = self._entries[self._begin]
        self._size -= oldest.size
        self._index.discard_below(oldest.end)
        self._begin += 1
        if 2 * self._begin > len(self._entries):
            del self._entries[: self._begin]
            self._begin = 0

    def count(self, after: int, username: str) -> int:
        """Return how many messages with offsets above ``after`` are not the user's own."""
        return self._index.count(after, username)

    def behind(self, after: int, username: str) -> Iterator[Entry]:
        """Iterate over the messages with offsets above ``after`` that are not the user's own."""
        entries = self._entries
        for index in range(bisect_right(entries, after, self._begin, key=_last), len(entries)):
            entry = entries[index]
            if entry.sender != username:
                yield entry if entry.offset > after else entry.between(after + 1, entry.end)


def _last(entry: Entry) -> int:
    return entry.end - 1
