"""The memtable of the SQLite store: what the tables that are looked up in do not know yet.

Segments tell everything, but not whose mailbox a message is in. The tables that tell it would
change in one page for each mailbox and conversation with each batch. So they are written behind:
what the last segments say is held in memory, and written to the tables many batches at a time (a
flush). When the file is opened, the memtable is read again from the segments behind the last
flush.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from chat_protocol.domain.messages import PositionKey
from chat_protocol.domain.ranges import Ranges
from chat_protocol.stores.sqlite.conversations import Run, write_postings
from chat_protocol.stores.sqlite.damage import verify
from chat_protocol.stores.sqlite.segments import (
    Kind,
    end_of,
    positions_of,
    recipients_of,
    records_of,
)

__all__ = ["Memtable", "read_memtable"]

ENTRIES = 8192
"""A flush is due when so many runs of messages to a recipient, or of publishing ids, are held."""

BYTES = 16 * 1024 * 1024
"""A flush is due when the segments hold so much more. They are read when the file is opened."""

K = TypeVar("K")

_WRITE_INBOX = """
INSERT INTO inbox (user, last, count)
SELECT value->>0, value->>1, value->>2 FROM json_each(?1)
"""

_WRITE_PUBLISHING = """
INSERT OR REPLACE INTO publishing (user, device, last, count)
SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each(?1)
"""


class Memtable:
    """The mailboxes, conversations and publishing ids that the tables do not know yet.

    Args:
        flushed: the last offset that the tables know.
    """

    def __init__(self, flushed: int) -> None:
        self._begin(flushed)

    def _begin(self, flushed: int) -> None:
        self.flushed = flushed
        """The last offset that the tables know."""
        self.mailboxes: dict[int, Ranges] = {}
        """Offsets that wait, by the id of the user."""
        self.publishing: dict[PositionKey, Ranges] = {}
        """Publishing ids, by the ids of the user and of the device that sent them."""
        self._runs: list[Run] = []
        self._entries = 0
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether a flush is due."""
        return self._entries >= ENTRIES or self._bytes >= BYTES

    def add_messages(self, sender: int, recipients: Sequence[int], begin: int, end: int) -> None:
        """Put the messages with these offsets into the mailboxes of their recipients."""
        for recipient in recipients:
            self._runs.append((sender, recipient, begin, end))
            mailbox = self.mailboxes.get(recipient)
            if mailbox is None:
                mailbox = self.mailboxes[recipient] = Ranges()
            mailbox.append(begin, end)
        self._entries += len(recipients)

    def add_publishing(self, sender: int, device: int, begin: int, end: int) -> None:
        """Note publishing ids under which messages are stored."""
        ids = self.publishing.get((sender, device))
        if ids is None:
            ids = self.publishing[sender, device] = Ranges()
        ids.append(begin, end)
        self._entries += 1

    def move(self, user: int, offset: int) -> bool:
        """Empty a mailbox up to an offset; return whether anything was there."""
        mailbox = self.mailboxes.get(user)
        if mailbox is None or not mailbox.edges or mailbox.edges[0] > offset:
            return False
        # An empty mailbox stays: the user is likely to get more.
        mailbox.discard_below(offset + 1)
        return True

    def expire(self, below: int) -> None:
        """Empty all mailboxes of messages with offsets below one."""
        for mailbox in self.mailboxes.values():
            mailbox.discard_below(below)

    def count(self, user: int) -> int:
        """Return how many messages wait in the part of a mailbox that is held here."""
        mailbox = self.mailboxes.get(user)
        return mailbox.count if mailbox is not None else 0

    def runs(self, user: int, other: int) -> Iterator[tuple[int, int]]:
        """Yield begin and end of what a user and another one (0: anybody) wrote to each other."""
        for sender, recipient, begin, end in self._runs:
            if sender == user:
                if other in (0, recipient):
                    yield begin, end
            elif recipient == user and other in (0, sender):
                yield begin, end

    def wrote(self, size: int) -> None:
        """Count bytes of segments that say what is held here."""
        self._bytes += size

    def replay(self, first: int, data: bytes) -> None:
        """Read what a segment says."""
        self._bytes += len(data)
        for record in records_of(first, data):
            if record.kind == Kind.MESSAGES:
                begin, end = record.offset, record.offset + record.messages
                self.add_messages(record.sender, recipients_of(record, data), begin, end)
                if id_ := record.publishing_id:
                    self.add_publishing(record.sender, record.device, id_, id_ + record.messages)
            elif record.kind == Kind.POSITIONS:
                for user, _, offset in positions_of(record, data):
                    self.move(user, offset)

    def flush(self, connection: sqlite3.Connection, last: int) -> None:
        """Write everything to the tables, which then know the messages up to an offset.

        One statement writes a table, so that a thread releases the GIL once and not once a row.
        """
        first = self.flushed + 1
        connection.execute("INSERT INTO flush (first, last) VALUES (?, ?)", (first, last))
        write_postings(connection, first, self._runs)
        inbox = [(user, *row) for user, row in _rows(self.mailboxes)]
        if inbox:
            connection.execute(_WRITE_INBOX, (json.dumps(inbox),))
        publishing = [(*key, *row) for key, row in _rows(self.publishing)]
        if publishing:
            connection.execute(_WRITE_PUBLISHING, (json.dumps(publishing),))
        self._begin(last)


def read_memtable(connection: sqlite3.Connection) -> tuple[Memtable, int, int]:
    """Read what the tables of a database do not know.

    Returns:
        The memtable, the offset below which messages are expired, and the last offset in use.
    """
    row = connection.execute("SELECT last FROM flush ORDER BY first DESC LIMIT 1").fetchone()
    last = flushed = row[0] if row is not None else 0
    memtable = Memtable(flushed)
    segments = connection.execute(
        "SELECT first, records, checksum FROM segment WHERE first > ? ORDER BY first", (flushed,)
    )
    for first, records, expected in segments:
        verify(first, records, expected)
        memtable.replay(first, records)
        # A segment without messages has used up an offset all the same.
        last = max(first, end_of(first, records) - 1)
    (expired,) = connection.execute("SELECT expired FROM state").fetchone()
    memtable.expire(expired)
    return memtable, expired, last


def _rows(sets: Mapping[K, Ranges]) -> Iterator[tuple[K, tuple[int, int]]]:
    """Yield the last number and the length of each range."""
    for key in sorted(sets):  # type: ignore[type-var]
        for begin, end in sets[key]:
            yield key, (end - 1, end - begin)
