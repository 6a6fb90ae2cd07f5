"""Forgetting in the SQLite store: at once for those who read, piece by piece in the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from time import perf_counter

from chat_protocol.stores.sqlite.segments import ChunkWriter

__all__ = ["MARK_SECONDS", "Moments", "Sweep"]

MARK_SECONDS = 60
"""So exactly it is known when a message was stored."""

_CHUNKS = 16
_ROWS = 128
_CONVERSATIONS = 8
"""Rows that one statement looks at: some tens of kilobytes."""

_BY_NUMBER = """
DELETE FROM {table} WHERE {key} IN (
    SELECT {key} FROM {table} WHERE {key} < ? ORDER BY {key} LIMIT {count}
)
"""

_OLD_FILINGS = "SELECT first FROM filing WHERE first < ?1 AND last < ?1 ORDER BY first"

_FORGET_FILING = "DELETE FROM filing WHERE first = ?1 AND first < (SELECT max(first) FROM filing)"
"""Not the last of all: it tells where numbering goes on."""

_FORGET_CONVERSATIONS = """
DELETE FROM conversation WHERE filing = ?1 AND low IN (
    SELECT low FROM conversation WHERE filing = ?1 ORDER BY low LIMIT ?2
)
"""

_NEXT_WAITING = """
SELECT user, last FROM inbox WHERE (user, last) > (?, ?) ORDER BY user, last LIMIT 1 OFFSET ?
"""

_FORGET_WAITING = """
DELETE FROM inbox WHERE (user, last) > (?, ?) AND (user, last) <= (?, ?) AND last < ?
"""


class Moments:
    """When messages were stored.

    Args:
        connection: to a database.
        wall_clock: nanoseconds since the epoch.
    """

    def __init__(self, connection: sqlite3.Connection, wall_clock: Callable[[], int]) -> None:
        self._execute = connection.execute
        self._wall_clock = wall_clock
        self._last = 0
        """When messages were last stored; 0 if that is not known."""
        self._first = self._marked = 0
        self.load()

    def load(self) -> None:
        """Learn what is known."""
        row = self._execute("SELECT first, time FROM moment ORDER BY first DESC LIMIT 1").fetchone()
        self._first, self._marked = row or (0, 0)

    def stored(self, writer: ChunkWriter) -> None:
        """Messages are about to be stored."""
        self.mark(writer)
        self._last = self._wall_clock()

    def mark(self, writer: ChunkWriter, at_once: bool = False) -> None:
        """Have it known by when all until now was stored, if that was not done a minute ago."""
        now = self._wall_clock()
        if 0 <= now - self._marked < MARK_SECONDS * 10**9 and not at_once:
            return
        self._marked = now
        writer.end_chunk()
        first = writer.last_offset + 1
        if first != self._first:
            self._first = first
            values = (first, self._last or now)
            self._execute("INSERT INTO moment (first, time) VALUES (?, ?)", values)

    def before(self, time: int) -> int:
        """Below this offset everything was stored by then; 0 if nothing is known to be."""
        (first,) = self._execute(
            "SELECT max(first) FROM moment WHERE time <= ?", (time,)
        ).fetchone()
        return first or 0


class Sweep:
    """Takes messages out of the tables that nobody can read any more.

    Args:
        connection: to a database in which all chunks below are filed.
        below: messages with lower offsets go.
    """

    def __init__(self, connection: sqlite3.Connection, below: int) -> None:
        self._execute = connection.execute
        self._below = below
        self._pieces = self._all_pieces()

    def step(self, seconds: float) -> bool:
        """Work for about so long, in the transaction that is open; whether more is left."""
        deadline = perf_counter() + seconds
        return any(perf_counter() >= deadline for _ in self._pieces)

    def _all_pieces(self) -> Iterator[None]:
        yield from self._by_number("everyone", "offset", _ROWS)
        yield from self._by_number("chunk", "first", _CHUNKS)
        for (first,) in self._execute(_OLD_FILINGS, (self._below,)).fetchall():
            while self._execute(_FORGET_CONVERSATIONS, (first, _CONVERSATIONS)).rowcount:
                yield
            self._execute(_FORGET_FILING, (first,))
            yield
        yield from self._mailboxes()
        yield from self._by_number("moment", "first", _ROWS)

    def _by_number(self, table: str, key: str, count: int) -> Iterator[None]:
        statement = _BY_NUMBER.format(table=table, key=key, count=count)
        while self._execute(statement, (self._below,)).rowcount:
            yield

    def _mailboxes(self) -> Iterator[None]:
        place = (0, 0)
        while True:
            following = self._execute(_NEXT_WAITING, (*place, _ROWS)).fetchone()
            end = following or (2**63 - 1, 2**63 - 1)
            self._execute(_FORGET_WAITING, (*place, *end, self._below))
            yield
            if following is None:
                return
            place = following
