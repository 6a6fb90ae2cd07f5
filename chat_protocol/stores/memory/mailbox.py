"""A mailbox of the store that is in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator

from chat_protocol.domain.stored import Stored, StoredRun

__all__ = ["Mailbox"]


class Mailbox:
    """Messages that wait for a user, oldest first, as the runs in which they came."""

    __slots__ = ("_count", "_parts", "_taken")

    def __init__(self) -> None:
        self._parts: deque[Stored | StoredRun] = deque()
        self._taken = 0
        """The last offset that was taken. What stands in front may begin below it: to cut it each
        time would cost more."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, part: Stored | StoredRun) -> None:
        """These are above all that were ever here."""
        self._parts.append(part)
        self._count += part.end - part.offset

    def take(self, offset: int) -> None:
        """Let everything go up to this offset."""
        parts = self._parts
        while parts and parts[0].offset <= offset:
            first = parts[0]
            begin, end = max(first.offset, self._taken + 1), min(first.end, offset + 1)
            self._count -= max(0, end - begin)
            if end < first.end:
                break
            parts.popleft()
        self._taken = max(self._taken, offset)

    def give_back(self, message: Stored) -> None:
        """Put one where it was, if it is not there."""
        parts, offset = self._parts, message.offset
        if parts and parts[0].offset <= self._taken:
            parts[0] = _behind(parts[0], self._taken)
        self._taken = 0
        index = bisect_right(parts, offset, key=_last)
        if index and _last(parts[index - 1]) == offset:
            return
        if index == len(parts) or parts[index].offset > offset:
            parts.insert(index, message)
            self._count += 1

    def behind(self, offset: int) -> Iterator[Stored | StoredRun]:
        """What waits behind this offset."""
        after = max(offset, self._taken)
        for part in self._parts:
            if part.offset > after:
                yield part
            elif part.end - 1 > after:
                yield _behind(part, after)


def _last(part: Stored | StoredRun) -> int:
    return part.end - 1


def _behind(part: Stored | StoredRun, offset: int) -> Stored | StoredRun:
    """The rest of what ends behind an offset."""
    return part if isinstance(part, Stored) else part.between(offset + 1, part.end)
