"""The time index of the SQLite store: when messages were stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from chat_protocol.stores.sqlite.segments import SegmentWriter

__all__ = ["MARK_SECONDS", "TimeIndex"]

MARK_SECONDS = 60
"""How exactly it is known when a message was stored."""


class TimeIndex:
    """Notes now and then by what time all messages up to an offset were stored.

    Args:
        connection: to the database.
        wall_clock: nanoseconds since the epoch.
    """

    def __init__(self, connection: sqlite3.Connection, wall_clock: Callable[[], int]) -> None:
        self._execute = connection.execute
        self._wall_clock = wall_clock
        self._last = 0
        """When messages were last stored; 0 if that is not known."""
        self._first = self._marked = 0

    def load(self) -> None:
        """Read the last mark."""
        row = self._execute(
            "SELECT first, time FROM time_index ORDER BY first DESC LIMIT 1"
        ).fetchone()
        self._first, self._marked = row or (0, 0)

    def stored(self, writer: SegmentWriter) -> None:
        """Note that messages are about to be stored."""
        self.mark(writer)
        self._last = self._wall_clock()

    def mark(self, writer: SegmentWriter, at_once: bool = False) -> None:
        """Note when the last messages were stored.

        Args:
            writer: a segment ends with the last message.
            at_once: whether to do so even if it is less than MARK_SECONDS since the last time.
        """
        now = self._wall_clock()
        if 0 <= now - self._marked < MARK_SECONDS * 10**9 and not at_once:
            return
        self._marked = now
        writer.end_segment()
        first = writer.last_offset + 1
        if first != self._first:
            self._first = first
            values = (first, self._last or now)
            self._execute("INSERT INTO time_index (first, time) VALUES (?, ?)", values)

    def stored_before(self, time: int) -> int:
        """Return an offset below which everything was stored by ``time``; 0 if none is known."""
        (first,) = self._execute(
            "SELECT max(first) FROM time_index WHERE time <= ?", (time,)
        ).fetchone()
        return first or 0
