"""The SQLite store in the hands of who has it alone: users are removed, numbers raised."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from chat_protocol.domain.ranges import Ranges
from chat_protocol.errors import UserNotFound
from chat_protocol.stores.sqlite.database import Database
from chat_protocol.stores.sqlite.memtable import records_between
from chat_protocol.stores.sqlite.segments import Entry, end_of, recipients_of, without_user

__all__ = ["OwnDatabase"]

_RECORD = struct.Struct(">IIII")


class OwnDatabase(Database):
    """A Database that serves nobody."""

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction in which the tables know everything; nothing of it is left in the file."""
        self._connection.execute("PRAGMA secure_delete = ON")
        try:
            self._begin()
            if self._writer.last_offset > self._recent.filed:
                self._file()
            yield self._connection
        except BaseException as error:
            self._undo(error)
        self.sync()
        self._load()

    def forget_all(self, before: int) -> None:
        """Forget what was stored before a time, in nanoseconds since the epoch, to the end."""
        self._connection.execute("PRAGMA secure_delete = ON")
        while self.forget(before):
            pass

    def number_above(self, offset: int) -> None:
        """Give no message that number, or a lower one."""
        with self.change() as connection:
            filed = self._recent.filed
            if offset > filed:
                connection.execute("INSERT INTO filing VALUES (?, ?)", (filed + 1, offset))

    def find_user(self, name: str) -> int:
        """The id of a user.

        Raises:
            UserNotFound: there is none of that name.
        """
        user_id = self._queries.user_id(name)
        if not user_id:
            raise UserNotFound(f"there is no user {name}")
        return user_id

    def remove_user(self, user: int, name: str) -> int:
        """Remove a user, what it sent and what only it was sent; how many messages that were."""
        # What is forgotten, but still in the tables, is not looked for.
        self.forget_all(0)
        with self.change() as connection:
            return _Removal(connection, user, name).remove()

    def compact(self) -> None:
        """Give free space back to the system."""
        self._connection.execute("VACUUM")


class _Removal:
    """Of one user.

    Args:
        connection: to a database whose tables know everything, in a transaction.
        user: the id.
        name: whose that is.
    """

    def __init__(self, connection: sqlite3.Connection, user: int, name: str) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._user = user
        self._name = name
        self._waiting: dict[int, Ranges] = {}
        """Offsets that are gone, by recipient."""
        self._messages = 0

    def remove(self) -> int:
        """Do it; how many messages are gone."""
        for (filing,) in self._execute("SELECT first FROM filing ORDER BY first").fetchall():
            self._remove_conversations(filing)
        to_everyone = "SELECT offset FROM everyone WHERE sender = ? ORDER BY offset"
        for (offset,) in self._execute(to_everyone, (self._user,)).fetchall():
            self._remove_messages(offset, offset + 1)
        for recipient, gone in self._waiting.items():
            self._remove_waiting(recipient, gone)
        for table, column in (
            ("everyone", "sender"), ("inbox", "user"), ("publishing", "user"), ("user", "id")
        ):  # fmt: skip
            self._execute(f"DELETE FROM {table} WHERE {column} = ?", (self._user,))
        return self._messages

    def _remove_conversations(self, filing: int) -> None:
        prefix = struct.pack(">I", self._user)
        others = set()
        messages = Ranges()
        for records in records_between(self._connection, filing, prefix):
            for user, other, begin, count in _RECORD.iter_unpack(records):
                if user == self._user:
                    others.add(other)
                    messages.add(filing + begin, filing + begin + count)
        done = 0
        for begin, end in messages:
            if end > done:
                done = self._remove_messages(max(begin, done), end)
        self._remove_records(filing, prefix)
        for other in others - {self._user}:
            self._remove_records(filing, struct.pack(">II", other, self._user))

    def _remove_records(self, filing: int, prefix: bytes) -> None:
        for records in list(records_between(self._connection, filing, prefix)):
            kept = b"".join(
                records[start : start + _RECORD.size]
                for start in range(0, len(records), _RECORD.size)
                if not records.startswith(prefix, start)
            )
            row = (filing, records[: _RECORD.size])
            self._execute("DELETE FROM conversation WHERE filing = ? AND low = ?", row)
            if kept:
                values = (filing, kept[: _RECORD.size], kept)
                self._execute("INSERT INTO conversation VALUES (?, ?, ?)", values)

    def _remove_messages(self, begin: int, end: int) -> int:
        """Rewrite the chunks that have these; the offset behind the last of them."""
        place = begin
        while place < end:
            row = self._execute(
                "SELECT first, entries FROM chunk WHERE first <= ? ORDER BY first DESC LIMIT 1",
                (place,),
            ).fetchone()
            if row is None or end_of(*row) <= place:
                return place
            first, entries = row
            left, gone = without_user(first, entries, self._user, self._name)
            if left != entries:
                self._execute("UPDATE chunk SET entries = ? WHERE first = ?", (left, first))
            self._note(gone, entries)
            place = end_of(first, entries)
        return place

    def _note(self, gone: Iterable[Entry], data: bytes) -> None:
        for entry in gone:
            self._messages += entry.messages
            for recipient in recipients_of(entry, data):
                if recipient != self._user:
                    ranges = self._waiting.setdefault(recipient, Ranges())
                    ranges.add(entry.offset, entry.offset + entry.messages)

    def _remove_waiting(self, recipient: int, gone: Ranges) -> None:
        rows = self._execute(
            "SELECT last - count + 1, last + 1 FROM inbox WHERE user = ? ORDER BY last",
            (recipient,),
        ).fetchall()
        left = Ranges()
        for begin, end in rows:
            for gone_begin, gone_end in gone.between(begin, end):
                if gone_begin > begin:
                    left.append(begin, gone_begin)
                begin = gone_end
            if begin < end:
                left.append(begin, end)
        self._execute("DELETE FROM inbox WHERE user = ?", (recipient,))
        self._connection.executemany(
            "INSERT INTO inbox (user, last, count) VALUES (?, ?, ?)",
            [(recipient, end - 1, end - begin) for begin, end in left],
        )
