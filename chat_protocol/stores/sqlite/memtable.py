"""What the tables of the SQLite store that are looked up in do not know yet.

Chunks tell everything, but not whose mailbox a message is in. The tables that tell it would
change in a page for each mailbox and conversation with each batch. So they are written behind:
what the last chunks say is held here, filed in the tables many batches at a time, and read
again from the chunks when the file is opened.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator, Sequence

from chat_protocol.domain.ranges import Ranges
from chat_protocol.stores.sqlite.segments import (
    Kind,
    entries_of,
    unpack_moves,
    unpack_publication,
    unpack_published,
)

__all__ = ["Recent", "filed_runs", "read_recent", "records_between"]

ENTRIES = 8192
"""So many messages to one recipient, or runs of them, are held at most."""

BYTES = 16 * 1024 * 1024
"""Of chunks that are read again at most when the file is opened."""

_RECORD = struct.Struct(">IIII")
_PAGE_BYTES = 60 * _RECORD.size
"""Of records in a row: as many as a page of such a table takes four times."""

_FILE_CONVERSATIONS = f"""
INSERT INTO conversation (filing, low, records)
SELECT ?1, substr(?2, value, {_RECORD.size}), substr(?2, value, {_PAGE_BYTES}) FROM json_each(?3)
"""

_FILED_CONVERSATION = """
SELECT records FROM conversation WHERE filing = ?1 AND low <= ?3 AND low >= coalesce(
    (SELECT max(low) FROM conversation WHERE filing = ?1 AND low <= ?2), ?2
)
"""

_FILE_INBOX = """
INSERT INTO inbox (user, last, count)
SELECT value->>0, value->>1, value->>2 FROM json_each(?1)
"""

_FILE_PUBLISHING = """
INSERT OR REPLACE INTO publishing (user, last, count)
SELECT value->>0, value->>1, value->>2 FROM json_each(?1)
"""


class Recent:
    """The mailboxes, conversations and publishing ids that the tables do not know yet.

    Args:
        filed: the last offset that they do know.
    """

    def __init__(self, filed: int) -> None:
        self._begin(filed)

    def _begin(self, filed: int) -> None:
        self._filed = filed
        self.mailboxes: dict[int, Ranges] = {}
        """Offsets that wait, by user; nothing empty is kept."""
        self.publishing: dict[int, Ranges] = {}
        """Publishing ids, by sender."""
        self._runs: list[tuple[int, int, int, int]] = []
        """Sender, recipient, first offset and the one behind the last, in their order."""
        self._moves = 0
        self._bytes = 0

    @property
    def filed(self) -> int:
        """The last offset that the tables know."""
        return self._filed

    @property
    def full(self) -> bool:
        """Whether it is time to file."""
        return len(self._runs) + self._moves >= ENTRIES or self._bytes >= BYTES

    def add_run(self, sender: int, recipient: int, begin: int, end: int, waits: bool) -> None:
        """Messages of one user to another have these offsets."""
        self._runs.append((sender, recipient, begin, end))
        if waits:
            self._put(recipient, begin, end)

    def add_publication(
        self, sender: int, recipients: Sequence[int], offset: int, publishing_id: int
    ) -> None:
        """A message to several has this offset; to everyone has no recipients."""
        for recipient in recipients:
            self.add_run(sender, recipient, offset, offset + 1, waits=True)
        if publishing_id:
            self.add_publishing(sender, publishing_id, publishing_id + 1)

    def add_publishing(self, sender: int, begin: int, end: int) -> None:
        """Messages of this user are stored under these publishing ids."""
        self._moves += 1
        ids = self.publishing.get(sender)
        if ids is None:
            ids = self.publishing[sender] = Ranges()
        ids.add(begin, end)

    def _put(self, user: int, begin: int, end: int) -> None:
        mailbox = self.mailboxes.get(user)
        if mailbox is None:
            mailbox = self.mailboxes[user] = Ranges()
        mailbox.add(begin, end)

    def give_back(self, user: int, offset: int) -> bool:
        """Into the mailbox again; False if it is there."""
        mailbox = self.mailboxes.get(user)
        if mailbox is not None and offset in mailbox:
            return False
        self._moves += 1
        self._put(user, offset, offset + 1)
        return True

    def take(self, user: int, offset: int) -> bool:
        """Out of the mailbox, up to the offset; False if nothing of that is there."""
        mailbox = self.mailboxes.get(user)
        if mailbox is None or mailbox.edges[0] > offset:
            return False
        self._moves += 1
        mailbox.discard_below(offset + 1)
        if not mailbox:
            del self.mailboxes[user]
        return True

    def forget(self, below: int) -> None:
        """Nothing with a lower offset waits any more."""
        for user in [one for one, mailbox in self.mailboxes.items() if mailbox.edges[0] < below]:
            mailbox = self.mailboxes[user]
            mailbox.discard_below(below)
            if not mailbox:
                del self.mailboxes[user]

    def count(self, user: int) -> int:
        """How many messages in that user's mailbox the tables do not know."""
        mailbox = self.mailboxes.get(user)
        return mailbox.count if mailbox is not None else 0

    def runs(self, user: int, other: int) -> Iterator[tuple[int, int]]:
        """Begin and end of what a user and another, or 0: anybody, wrote to each other."""
        for sender, recipient, begin, end in self._runs:
            if sender == user:
                if other in (0, recipient):
                    yield begin, end
            elif recipient == user and other in (0, sender):
                yield begin, end

    def wrote(self, size: int) -> None:
        """So many bytes of chunks say what was told here."""
        self._bytes += size

    def replay(self, first: int, data: bytes) -> int:
        """Take what a chunk says; returns the next offset."""
        self._bytes += len(data)
        offset = first
        for entry in entries_of(first, data):
            kind, sender, recipient, messages, offset, *_ = entry
            end = offset + messages
            if kind in (Kind.WAITING_RUN, Kind.LIVE_RUN):
                self.add_run(sender, recipient, offset, end, kind == Kind.WAITING_RUN)
            elif kind == Kind.PUBLISHED:
                first = unpack_published(entry, data)
                self.add_publishing(sender, first, first + recipient)
            elif kind == Kind.PUBLICATION:
                publishing_id, recipients = unpack_publication(entry, data)
                self.add_publication(sender, recipients, offset, publishing_id)
            else:
                change = self.give_back if kind == Kind.RETURNED else self.take
                for user, number in unpack_moves(entry, data):
                    change(user, number)
            offset = end
        return offset

    def file(self, connection: sqlite3.Connection, last: int) -> None:
        """Move all of it to the tables, which then know what the chunks say up to an offset.

        One statement a table: so a thread that does this lets go of the GIL once each, not once
        a row.
        """
        execute = connection.execute
        first = self._filed + 1
        execute("INSERT INTO filing (first, last) VALUES (?, ?)", (first, last))
        records = [
            _RECORD.pack(sender, recipient, begin - first, end - begin)
            for sender, recipient, begin, end in self._runs
        ]
        records += [
            _RECORD.pack(recipient, sender, begin - first, end - begin)
            for sender, recipient, begin, end in self._runs
            if sender != recipient
        ]
        records.sort()
        data = b"".join(records)
        positions = list(range(1, len(data) + 1, _PAGE_BYTES))
        execute(_FILE_CONVERSATIONS, (first, data, json.dumps(positions)))
        if self.mailboxes:
            execute(_FILE_INBOX, (json.dumps(_rows(self.mailboxes, 0)),))
        if self.publishing:
            execute(_FILE_PUBLISHING, (json.dumps(_rows(self.publishing, 2**63)),))
        self._begin(last)


def read_recent(connection: sqlite3.Connection) -> tuple[Recent, int, int]:
    """What the tables of a file do not know.

    With it the offset below which messages are forgotten, and the last that was given.
    """
    row = connection.execute("SELECT last FROM filing ORDER BY first DESC LIMIT 1").fetchone()
    last = filed = row[0] if row is not None else 0
    recent = Recent(filed)
    chunks = connection.execute(
        "SELECT first, entries FROM chunk WHERE first > ? ORDER BY first", (filed,)
    )
    for first, entries in chunks:
        # One without messages has used up a number all the same.
        last = max(first, recent.replay(first, entries) - 1)
    (below,) = connection.execute("SELECT below FROM forgotten").fetchone()
    recent.forget(below)
    return recent, below, last


def _rows(sets: dict[int, Ranges], less: int) -> list[tuple[int, int, int]]:
    """The last number, less something, and the length of each range."""
    return [(key, end - 1 - less, end - begin) for key in sorted(sets) for begin, end in sets[key]]


def filed_runs(
    connection: sqlite3.Connection, first: int, user: int, other: int
) -> Iterator[tuple[int, int]]:
    """The same as :meth:`Recent.runs`, from the filing that begins with this offset."""
    prefix = struct.pack(">I", user) + (struct.pack(">I", other) if other else b"")
    for records in records_between(connection, first, prefix):
        for one, two, begin, count in _RECORD.iter_unpack(records):
            if one == user and other in (0, two):
                yield first + begin, first + begin + count


def records_between(connection: sqlite3.Connection, first: int, prefix: bytes) -> Iterator[bytes]:
    """Rows of records of a filing, among them all that begin with ``prefix``."""
    low, high = (prefix.ljust(_RECORD.size, byte) for byte in (b"\0", b"\xff"))
    for (records,) in connection.execute(_FILED_CONVERSATION, (first, low, high)):
        yield records
