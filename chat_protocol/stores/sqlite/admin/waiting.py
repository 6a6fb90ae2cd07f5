"""Which waiting messages of a SQLite file are missing: mailboxes compared with the segments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from chat_protocol.domain.ranges import Ranges

__all__ = ["Waiting"]


class Waiting:
    """The waiting messages of all mailboxes, from the lowest offset to the highest.

    Args:
        rows: begin, end and user of each range, ordered by begin.
    """

    def __init__(self, rows: Iterable[tuple[int, int, int]]) -> None:
        self._rows = iter(rows)
        self._next = next(self._rows, None)
        self._open: list[tuple[int, int, int]] = []

    def missing(self, end: int, sent: dict[int, Ranges]) -> Iterator[tuple[int, int]]:
        """Yield what waits below an offset and was not sent to its user.

        Args:
            end: the offset behind a segment.
            sent: offsets of the messages in the segment, by recipient.

        Yields:
            The id of the user and the offset.
        """
        while self._next is not None and self._next[0] < end:
            heappush(self._open, self._next)
            self._next = next(self._rows, None)
        while self._open and self._open[0][0] < end:
            begin, stop, user = heappop(self._open)
            place = begin
            found = sent.get(user, Ranges()).between(begin, min(stop, end))
            for found_begin, found_end in found:
                if found_begin > place:
                    break
                place = found_end
            if place < min(stop, end):
                yield user, place
            if stop > end:
                heappush(self._open, (end, stop, user))
