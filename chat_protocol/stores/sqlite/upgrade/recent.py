"""What the tables of versions 3 and 4 of the schema do not know yet, by their rules.

A run is in the mailbox of its recipient unless it was live. A live one that was lost on its way
came back to the mailbox (RETURNED).
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Sequence

from chat_protocol.domain.ranges import Ranges
from chat_protocol.stores.sqlite.upgrade.chunks import (
    Kind,
    chunked_in,
    moves_of,
    publication_of,
    published_of,
)

__all__ = ["Recent", "file_recent"]

ENTRIES = 8192
BYTES = 16 * 1024 * 1024

_RECORD = struct.Struct(">IIII")
_ROW_BYTES = 60 * _RECORD.size

_FILE_CONVERSATIONS = f"""
INSERT INTO conversation (filing, low, records)
SELECT ?1, substr(?2, value, {_RECORD.size}), substr(?2, value, {_ROW_BYTES}) FROM json_each(?3)
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
    """Mailboxes, conversations and publishing ids.

    Args:
        filed: the last offset that the tables know.
    """

    def __init__(self, filed: int) -> None:
        self._begin(filed)

    def _begin(self, filed: int) -> None:
        self._filed = filed
        self.mailboxes: dict[int, Ranges] = {}
        self._publishing: dict[int, Ranges] = {}
        self._runs: list[tuple[int, int, int, int]] = []
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether it is time to write to the tables."""
        return len(self._runs) >= ENTRIES or self._bytes >= BYTES

    def add_run(self, sender: int, recipient: int, begin: int, end: int, waits: bool) -> None:
        """Note messages from one user to another."""
        self._runs.append((sender, recipient, begin, end))
        if waits:
            self._put(recipient, begin, end)

    def add_publication(self, sender: int, recipients: Sequence[int], offset: int) -> None:
        """Note a message to several users; to everyone has no recipients."""
        for recipient in recipients:
            self.add_run(sender, recipient, offset, offset + 1, waits=True)

    def wrote(self, size: int) -> None:
        """Count bytes of chunks."""
        self._bytes += size

    def replay(self, first: int, data: bytes) -> int:
        """Read what a chunk says; return the offset behind its last message."""
        end = first
        for entry in chunked_in(first, data):
            kind, sender, recipient, messages, offset, *_ = entry
            end = offset + messages
            if kind in (Kind.WAITING_RUN, Kind.LIVE_RUN):
                self.add_run(sender, recipient, offset, end, kind == Kind.WAITING_RUN)
            elif kind == Kind.PUBLISHED:
                self._publish(sender, published_of(entry, data), recipient)
            elif kind == Kind.PUBLICATION:
                publication = publication_of(entry, data)
                self.add_publication(sender, publication.recipients, offset)
                self._publish(sender, publication.publishing_id, 1)
            elif kind == Kind.RETURNED:
                for user, number in moves_of(entry, data):
                    self._put(user, number, number + 1)
            elif kind == Kind.TAKEN:
                for user, number in moves_of(entry, data):
                    self._take(user, number)
        return end

    def _put(self, user: int, begin: int, end: int) -> None:
        self.mailboxes.setdefault(user, Ranges()).add(begin, end)

    def _take(self, user: int, offset: int) -> None:
        if user in self.mailboxes:
            self.mailboxes[user].discard_below(offset + 1)

    def _publish(self, sender: int, first: int, count: int) -> None:
        if first:
            self._publishing.setdefault(sender, Ranges()).add(first, first + count)

    def forget(self, below: int) -> None:
        """Empty the mailboxes of messages with lower offsets."""
        for mailbox in self.mailboxes.values():
            mailbox.discard_below(below)

    def file(self, connection: sqlite3.Connection, last: int) -> None:
        """Write everything to the tables, which then know the messages up to an offset."""
        execute = connection.execute
        first = self._filed + 1
        execute("INSERT INTO filing (first, last) VALUES (?, ?)", (first, last))
        records = sorted(
            _RECORD.pack(user, other, begin - first, end - begin)
            for sender, recipient, begin, end in self._runs
            for user, other in {(sender, recipient), (recipient, sender)}
        )
        data = b"".join(records)
        places = list(range(1, len(data) + 1, _ROW_BYTES))
        execute(_FILE_CONVERSATIONS, (first, data, json.dumps(places)))
        execute(_FILE_INBOX, (json.dumps(_rows(self.mailboxes, 0)),))
        execute(_FILE_PUBLISHING, (json.dumps(_rows(self._publishing, 2**63)),))
        self._begin(last)


def file_recent(connection: sqlite3.Connection) -> None:
    """Have the tables of a database of version 4 know everything."""
    (filed,) = connection.execute("SELECT coalesce(max(last), 0) FROM filing").fetchone()
    recent, last = Recent(filed), filed
    chunks = connection.execute(
        "SELECT first, entries FROM chunk WHERE first > ? ORDER BY first", (filed,)
    )
    for first, entries in chunks:
        # A chunk without messages has used up an offset all the same.
        last = max(first, recent.replay(first, entries) - 1)
    (below,) = connection.execute("SELECT below FROM forgotten").fetchone()
    recent.forget(below)
    if last > filed:
        recent.file(connection, last)


def _rows(sets: dict[int, Ranges], less: int) -> list[tuple[int, int, int]]:
    return [(key, end - 1 - less, end - begin) for key in sorted(sets) for begin, end in sets[key]]
