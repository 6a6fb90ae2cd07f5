"""A mailbox of the store that is in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

from chat_protocol.domain.entries import Entry

__all__ = ["Mailbox", "entries_behind"]


class Mailbox:
    """Messages that wait for a user, oldest first, as the entries in which they came.

    Messages that no device has received stand apart from those that one has and another has not.
    A message to everyone is in no mailbox.
    """

    __slots__ = ("_received", "_taken", "_waiting", "count")

    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()
        self._taken = 0
        """Offset up to which some device has received everything. The first waiting entry may
        begin below it: to cut the entry each time would cost more."""
        self._received: deque[Entry] | None = None
        """What has been taken and is kept for other devices; None in place of an empty deque."""
        self.count = 0
        """Messages that no device has received."""

    def append(self, entry: Entry) -> None:
        """Append messages with offsets above all that were ever here."""
        self._waiting.append(entry)
        self.count += len(entry.frames)

    def take(self, offset: int, keep: bool = False) -> None:
        """Note that a device has received everything up to an offset.

        Args:
            offset: of the last message.
            keep: whether to keep the messages for another device, until :meth:`remove`.
        """
        waiting, taken = self._waiting, self._taken
        if offset <= taken:
            return
        while waiting and waiting[0].offset <= offset:
            first = waiting[0]
            begin, end = first.offset, first.offset + len(first.frames)
            self.count -= min(end, offset + 1) - max(begin, taken + 1)
            if end > offset + 1:
                break
            waiting.popleft()
            if keep:
                if self._received is None:
                    self._received = deque()
                self._received.append(first)
        self._taken = offset

    def drop(self, count: int) -> None:
        """Remove so many of the oldest messages that no device has received."""
        waiting = self._waiting
        if count > 0 and waiting[0].offset <= self._taken:
            waiting[0] = waiting[0].between(self._taken + 1, waiting[0].end)
        while count > 0:
            first = waiting.popleft()
            size = len(first.frames)
            if size > count:
                waiting.appendleft(first.between(first.offset + count, first.end))
            self.count -= min(size, count)
            count -= size

    def remove(self, offset: int) -> None:
        """Remove everything up to an offset: all devices have received it, or it is expired."""
        self.take(offset)
        received = self._received
        while received and received[0].end - 1 <= offset:
            received.popleft()
        if not received:
            self._received = None

    def behind(self, offset: int) -> Iterator[Entry]:
        """Iterate over the messages behind an offset."""
        return entries_behind(chain(self._received or (), self._waiting), offset)

    def count_behind(self, offset: int) -> int:
        """Return how many messages there are behind an offset."""
        if offset == self._taken and self._received is None:
            return self.count
        return sum(len(entry.frames) for entry in self.behind(offset))


def entries_behind(entries: Iterable[Entry], offset: int) -> Iterator[Entry]:
    """Iterate over the messages of entries that are behind an offset."""
    for entry in entries:
        if entry.offset > offset:
            yield entry
        elif entry.end - 1 > offset:
            yield entry.between(offset + 1, entry.end)
