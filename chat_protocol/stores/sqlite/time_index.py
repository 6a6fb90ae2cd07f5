"""The time index of the SQLite store: when messages were stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from chat_protocol.domain.time_marks import TimeMarks
from chat_protocol.stores.sqlite.segments import SegmentWriter

__all__ = ["TimeIndex"]

# A mark whose time is below that of an earlier one, as version 5 could write it, does not count.
_STORED_BEFORE = """
SELECT coalesce(max(first), 0) FROM time_index
WHERE first < coalesce((SELECT min(first) FROM time_index WHERE time > ?), 9223372036854775807)
"""


class TimeIndex:
    """Keeps the time marks of the store; see domain/time_marks.py.

    Args:
        connection: to the database.
        wall_clock: nanoseconds since the epoch.
    """

    def __init__(self, connection: sqlite3.Connection, wall_clock: Callable[[], int]) -> None:
        self._execute = connection.execute
        self._marks = TimeMarks(wall_clock)
        self._first = 0

    def load(self) -> None:
        """Read the last mark."""
        query = "SELECT coalesce(max(first), 0), coalesce(max(time), 0) FROM time_index"
        self._first, latest = self._execute(query).fetchone()
        self._marks.load(latest)

    def stored(self, writer: SegmentWriter) -> None:
        """Note that messages are about to be stored."""
        self.mark(writer)
        self._marks.stored()

    def mark(self, writer: SegmentWriter, at_once: bool = False) -> None:
        """Note when the last messages were stored.

        Args:
            writer: a segment ends with the last message.
            at_once: whether to do so even if it is less than MARK_SECONDS since the last time.
        """
        time = self._marks.due(at_once)
        if not time:
            return
        writer.end_segment()
        first = writer.last_offset + 1
        if first != self._first:
            self._first = first
            self._execute("INSERT INTO time_index (first, time) VALUES (?, ?)", (first, time))

    def stored_before(self, time: int) -> int:
        """Return an offset below which everything was stored by ``time``; 0 if none is known."""
        (first,) = self._execute(_STORED_BEFORE, (time,)).fetchone()
        return int(first)
