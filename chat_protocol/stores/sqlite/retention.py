"""How the SQLite store removes expired messages: piece by piece."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from time import perf_counter

__all__ = ["Purge"]

# Rows that one statement looks at: some tens of kilobytes.
_SEGMENTS = 16
_ROWS = 128
_CONVERSATIONS = 8

_PURGE_ROWS = """
DELETE FROM {table} WHERE {key} IN (
    SELECT {key} FROM {table} WHERE {key} < ? ORDER BY {key} LIMIT {count}
)
"""

_EXPIRED_FLUSHES = "SELECT first FROM flush WHERE first < ?1 AND last < ?1 ORDER BY first"

_PURGE_FLUSH = "DELETE FROM flush WHERE first = ?1 AND first < (SELECT max(first) FROM flush)"
"""Not the last of all: it tells which offsets come next."""

_PURGE_CONVERSATIONS = """
DELETE FROM conversation WHERE flush = ?1 AND low IN (
    SELECT low FROM conversation WHERE flush = ?1 ORDER BY low LIMIT ?2
)
"""

_NEXT_WAITING = """
SELECT user, last FROM inbox WHERE (user, last) > (?, ?) ORDER BY user, last LIMIT 1 OFFSET ?
"""

_PURGE_WAITING = """
DELETE FROM inbox WHERE (user, last) > (?, ?) AND (user, last) <= (?, ?) AND last < ?
"""


class Purge:
    """Removes messages from the tables that nobody can read any more.

    Args:
        connection: to a database in which the tables know all messages below.
        expired: messages with lower offsets are removed.
    """

    def __init__(self, connection: sqlite3.Connection, expired: int) -> None:
        self._execute = connection.execute
        self._expired = expired
        self._pieces = self._all_pieces()

    def step(self, seconds: float) -> bool:
        """Work for about that long in the transaction that is open; return whether more is left."""
        deadline = perf_counter() + seconds
        return any(perf_counter() >= deadline for _ in self._pieces)

    def _all_pieces(self) -> Iterator[None]:
        yield from self._purge_rows("everyone", "offset", _ROWS)
        yield from self._purge_rows("segment", "first", _SEGMENTS)
        for (first,) in self._execute(_EXPIRED_FLUSHES, (self._expired,)).fetchall():
            while self._execute(_PURGE_CONVERSATIONS, (first, _CONVERSATIONS)).rowcount:
                yield
            self._execute(_PURGE_FLUSH, (first,))
            yield
        yield from self._purge_mailboxes()
        yield from self._purge_rows("time_index", "first", _ROWS)

    def _purge_rows(self, table: str, key: str, count: int) -> Iterator[None]:
        statement = _PURGE_ROWS.format(table=table, key=key, count=count)
        while self._execute(statement, (self._expired,)).rowcount:
            yield

    def _purge_mailboxes(self) -> Iterator[None]:
        place = (0, 0)
        while True:
            following = self._execute(_NEXT_WAITING, (*place, _ROWS)).fetchone()
            end = following or (2**63 - 1, 2**63 - 1)
            self._execute(_PURGE_WAITING, (*place, *end, self._expired))
            yield
            if following is None:
                return
            place = following
