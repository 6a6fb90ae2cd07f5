"""The conversation index of the SQLite store: who wrote to whom, in which messages.

Each flush of the memtable writes its own part of the index. It is a sorted list of postings, cut
into rows of the table ``conversation``. A posting is a user, another user, by how much the first
offset is above the first one of the flush, and the number of messages with consecutive offsets.
What one user sent to another has two postings, one for each of them as the first.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterable, Iterator

__all__ = [
    "POSTING",
    "Run",
    "flushed_runs",
    "pack_postings",
    "postings_between",
    "write_postings",
]

POSTING = struct.Struct(">IIII")

Run = tuple[int, int, int, int]
"""Messages with consecutive offsets from one user to another: the ids of the two, the first offset
and the one behind the last."""

_ROW_BYTES = 60 * POSTING.size
"""Postings of a row. A database page holds four such rows."""

_WRITE = f"""
INSERT INTO conversation (flush, low, postings)
SELECT ?1, substr(?2, value, {POSTING.size}), substr(?2, value, {_ROW_BYTES}) FROM json_each(?3)
"""

_READ = """
SELECT postings FROM conversation WHERE flush = ?1 AND low <= ?3 AND low >= coalesce(
    (SELECT max(low) FROM conversation WHERE flush = ?1 AND low <= ?2), ?2
)
"""


def pack_postings(first: int, runs: Iterable[Run]) -> bytes:
    """Return the sorted postings of runs.

    Args:
        first: the first offset of the flush.
        runs: what was sent.
    """
    postings = [
        POSTING.pack(user, other, begin - first, end - begin)
        for sender, recipient, begin, end in runs
        for user, other in {(sender, recipient), (recipient, sender)}
    ]
    postings.sort()
    return b"".join(postings)


def write_postings(connection: sqlite3.Connection, first: int, runs: Iterable[Run]) -> None:
    """Store the postings of a flush.

    One statement writes all rows, so that a thread releases the GIL once and not once a row.

    Args:
        connection: to the database.
        first: the first offset of the flush.
        runs: what was sent.
    """
    data = pack_postings(first, runs)
    places = list(range(1, len(data) + 1, _ROW_BYTES))
    connection.execute(_WRITE, (first, data, json.dumps(places)))


def flushed_runs(
    connection: sqlite3.Connection, first: int, user: int, other: int
) -> Iterator[tuple[int, int]]:
    """Yield the offsets of what two users wrote to each other, from one flush.

    Args:
        connection: to the database.
        first: the first offset of the flush.
        user: the id of a user.
        other: the id of the other user; 0: anybody.

    Yields:
        The first offset, and the one behind the last.
    """
    prefix = struct.pack(">I", user) + (struct.pack(">I", other) if other else b"")
    for postings in postings_between(connection, first, prefix):
        for one, two, begin, count in POSTING.iter_unpack(postings):
            if one == user and other in (0, two):
                yield first + begin, first + begin + count


def postings_between(connection: sqlite3.Connection, first: int, prefix: bytes) -> Iterator[bytes]:
    """Yield the rows of a flush that can have postings that begin with ``prefix``."""
    low, high = (prefix.ljust(POSTING.size, byte) for byte in (b"\0", b"\xff"))
    for (postings,) in connection.execute(_READ, (first, low, high)):
        yield postings
