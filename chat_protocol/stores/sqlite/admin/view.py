"""Statistics and lists of users from a SQLite file."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator

from chat_protocol.domain.ranges import Ranges
from chat_protocol.errors import UserNotFound
from chat_protocol.stores.admin import DeviceRecord, Statistics, UserRecord
from chat_protocol.stores.sqlite.conversations import flushed_runs
from chat_protocol.stores.sqlite.memtable import read_memtable
from chat_protocol.stores.sqlite.segments import Kind, records_of

__all__ = ["View"]

_OLDEST = """
SELECT time FROM time_index WHERE first <= (SELECT min(first) FROM segment WHERE first >= ?)
ORDER BY first DESC LIMIT 1
"""

_INBOX = """
SELECT user, sum(min(count, last - ?1 + 1)) FROM inbox WHERE last >= ?1 GROUP BY user
"""

_DEVICES = """
SELECT name, ended FROM device WHERE user = ? AND position IS NOT NULL ORDER BY id
"""


class View:
    """A view of an open file as of the transaction that is open.

    Args:
        connection: to the database; texts are bytes.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._memtable, self._expired, _ = read_memtable(connection)

    def statistics(self) -> Statistics:
        """See StoreAdmin."""
        (users,) = self._execute("SELECT count(*) FROM user").fetchone()
        (oldest,) = self._execute(_OLDEST, (self._expired,)).fetchone() or (0,)
        (pages,), (size,), (free,), (schema,) = (
            self._execute(f"PRAGMA {name}").fetchone()
            for name in ("page_count", "page_size", "freelist_count", "user_version")
        )
        return Statistics(
            users=users,
            messages=self._count_messages(),
            waiting=self._count_waiting(),
            oldest=oldest,
            bytes=pages * size,
            free_bytes=free * size,
            schema=schema,
        )

    def _count_messages(self) -> int:
        segments = self._execute(
            "SELECT first, records FROM segment WHERE first >= ?", (self._expired,)
        )
        return sum(
            record.messages
            for first, records in segments
            for record in records_of(first, records)
            if record.kind != Kind.DELETED
        )

    def _count_waiting(self) -> int:
        memtable = self._memtable
        count = sum(memtable.count(user) for user in memtable.mailboxes)
        return count + sum(int(flushed) for _, flushed in self._execute(_INBOX, (self._expired,)))

    def users(self) -> Iterator[UserRecord]:
        """Yield all users in the order of the names' UTF-8 bytes."""
        flushed = dict(self._execute(_INBOX, (self._expired,)))
        to_everyone: list[int] = []
        own: dict[int, list[int]] = {}
        for offset, sender in self._execute(
            "SELECT offset, sender FROM everyone WHERE offset >= ? ORDER BY offset",
            (self._expired,),
        ):
            to_everyone.append(offset)
            own.setdefault(sender, []).append(offset)
        for id_, name, last_login, seen in self._execute(
            "SELECT id, name, last_login, seen FROM user ORDER BY name"
        ):
            waiting = flushed.get(id_, 0) + self._memtable.count(id_)
            waiting += len(to_everyone) - bisect_right(to_everyone, seen)
            if mine := own.get(id_):
                waiting -= len(mine) - bisect_right(mine, seen)
            yield UserRecord(name.decode(), last_login, waiting)

    def user(self, name: str) -> tuple[UserRecord, int]:
        """See StoreAdmin."""
        row = self._execute("SELECT id FROM user WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise UserNotFound(f"there is no user {name}")
        record = next(one for one in self.users() if one.name == name)
        return record, self._messages_of(row[0]).count

    def devices(self, name: str) -> list[DeviceRecord]:
        """See StoreAdmin."""
        row = self._execute("SELECT id, devices FROM user WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise UserNotFound(f"there is no user {name}")
        user_id, count = row
        rows = self._execute(_DEVICES, (user_id,)).fetchall()
        if not rows and not count:
            return [DeviceRecord("", None)]
        # Nothing is written for the sessions of an only device.
        only = len(rows) == 1
        return [DeviceRecord(device.decode(), None if only else ended) for device, ended in rows]

    def _messages_of(self, user_id: int) -> Ranges:
        """Return the offsets of the messages from and to a user, but for those of others to all."""
        messages = Ranges()
        for (flush,) in self._execute("SELECT first FROM flush ORDER BY first").fetchall():
            for begin, end in flushed_runs(self._connection, flush, user_id, 0):
                if end > self._expired:
                    messages.add(max(begin, self._expired), end)
        for begin, end in self._memtable.runs(user_id, 0):
            messages.add(begin, end)
        for (offset,) in self._execute(
            "SELECT offset FROM everyone WHERE sender = ? AND offset >= ?",
            (user_id, self._expired),
        ):
            messages.add(offset, offset + 1)
        return messages
