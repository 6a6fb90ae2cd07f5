"""Reading mailboxes from the tables of the SQLite store and from its memtable."""

from __future__ import annotations

import sqlite3
from itertools import islice

from chat_protocol.stores.broadcast_index import BroadcastIndex
from chat_protocol.stores.sqlite.memtable import Memtable

__all__ = ["MailboxReader"]

_WAITING = """
SELECT last, count FROM inbox WHERE user = ? AND last > ? ORDER BY last LIMIT ?
"""

_COUNT_WAITING = """
SELECT coalesce(sum(count), 0) FROM (
    SELECT min(count, last - ?2 + 1) AS count FROM inbox WHERE user = ?1 AND last >= ?2 LIMIT ?3
)
"""

_WAITING_TO_EVERYONE = """
SELECT offset FROM everyone WHERE offset > ? AND sender <> ? ORDER BY offset LIMIT ?
"""

_COPIES = """
SELECT last, count FROM copy WHERE user = ? AND device <> ? AND last > ? ORDER BY last
"""

_MAX_OFFSET = 2**63 - 1


class MailboxReader:
    """Finds the messages that wait for users, by their offsets.

    Args:
        connection: to the database.
        memtable: what its tables do not know yet.
        expired: messages with lower offsets are expired, though the tables may still have them.
        broadcasts: the offsets of the messages to everyone, with the ids of their senders.
        limit: messages that a device may be behind by; 0: no limit.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        memtable: Memtable,
        expired: int,
        broadcasts: BroadcastIndex[int],
        limit: int,
    ) -> None:
        self._execute = connection.execute
        self._memtable = memtable
        self.expired = expired
        self._broadcasts = broadcasts
        self._limit = limit

    def position(self, user_id: int, last: int) -> int:
        """Return the position of a user's only device: it has received everything up to there.

        Args:
            user_id: the user.
            last: the last offset in use.
        """
        (seen,) = self._execute("SELECT seen FROM user WHERE id = ?", (user_id,)).fetchone()
        waiting = self.waiting(user_id, 0, seen, 1)
        return min(begin for begin, _ in waiting) - 1 if waiting else last

    def waiting(self, user_id: int, after: int, seen: int, limit: int) -> list[tuple[int, int]]:
        """Return ranges of the offsets of messages that others sent.

        Args:
            user_id: whose mailbox it is.
            after: an offset: only messages behind it.
            seen: an offset: only messages to everyone behind it.
            limit: so many ranges of each kind at most.
        """
        after = max(after, self.expired - 1)
        found = [
            (max(last - count, after) + 1, last + 1)
            for last, count in self._execute(_WAITING, (user_id, after, limit))
        ]
        mailbox = self._memtable.mailboxes.get(user_id)
        if mailbox is not None:
            found += islice(mailbox.between(after + 1, _MAX_OFFSET), limit)
        values = (max(seen, after), user_id, limit)
        found += [(offset, offset + 1) for (offset,) in self._execute(_WAITING_TO_EVERYONE, values)]
        return found

    def copies(self, user_id: int, device_id: int, after: int, first: int) -> list[tuple[int, int]]:
        """Return ranges of the offsets of messages that a user has sent from other devices.

        If the device is too far behind, the oldest of them are left out.

        Args:
            user_id: the user.
            device_id: the device that gets them.
            after: an offset: only messages behind it.
            first: the last offset before the first login of the device.
        """
        begin = max(after, first, self.expired - 1)
        found = [
            (max(last - count, begin) + 1, last + 1)
            for last, count in self._execute(_COPIES, (user_id, device_id, begin))
        ]
        if found and self._limit:
            excess = sum(end - begin for begin, end in found)
            excess -= max(0, self._limit - self.count(user_id, after))
            while excess > 0:
                begin, end = found[0]
                if end - begin > excess:
                    found[0] = (begin + excess, end)
                else:
                    del found[0]
                excess -= end - begin
        return found

    def count(self, user_id: int, after: int) -> int:
        """Return how many messages that others sent are behind an offset."""
        return self.count_inbox(user_id, after) + self.count_to_everyone(user_id, after)

    def count_to_everyone(self, user_id: int, after: int) -> int:
        """Return how many messages that others sent to everyone are behind an offset."""
        return self._broadcasts.count(max(after, self.expired - 1), user_id)

    def count_inbox(self, user_id: int, after: int) -> int:
        """Return how many other messages are behind an offset."""
        after = max(after, self.expired - 1)
        (count,) = self._execute(_COUNT_WAITING, (user_id, after + 1, -1)).fetchone()
        mailbox = self._memtable.mailboxes.get(user_id)
        if mailbox is not None:
            count += sum(end - begin for begin, end in mailbox.between(after + 1, _MAX_OFFSET))
        return int(count)

    def count_flushed(self, user_id: int, exactly: bool = True) -> int:
        """Return how many messages wait in the flushed part of a mailbox.

        Args:
            user_id: whose mailbox it is.
            exactly: if False, whether there are any is enough.
        """
        values = (user_id, self.expired, -1 if exactly else 1)
        (count,) = self._execute(_COUNT_WAITING, values).fetchone()
        return int(count)
