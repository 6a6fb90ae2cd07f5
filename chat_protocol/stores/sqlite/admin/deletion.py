"""Deleting a user from a SQLite file."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable

from chat_protocol.domain.ranges import Ranges
from chat_protocol.stores.sqlite.conversations import POSTING, flushed_runs, postings_between
from chat_protocol.stores.sqlite.damage import checksum
from chat_protocol.stores.sqlite.segments import Record, end_of, recipients_of, without_user

__all__ = ["UserDeletion"]


class UserDeletion:
    """The deletion of one user, with the messages it sent and those sent to it only.

    Args:
        connection: to a database whose tables know everything, in a transaction.
        user: the id of the user.
        name: of the user.
    """

    def __init__(self, connection: sqlite3.Connection, user: int, name: str) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._user = user
        self._name = name
        self._waiting: dict[int, Ranges] = {}
        """Offsets of deleted messages, by recipient."""
        self._messages = 0

    def run(self) -> int:
        """Delete everything; return how many messages that were."""
        for (flush,) in self._execute("SELECT first FROM flush ORDER BY first").fetchall():
            self._delete_conversations(flush)
        to_everyone = "SELECT offset FROM everyone WHERE sender = ? ORDER BY offset"
        for (offset,) in self._execute(to_everyone, (self._user,)).fetchall():
            self._delete_messages(offset, offset + 1)
        for recipient, deleted in self._waiting.items():
            self._delete_waiting(recipient, deleted)
        for table, column in (
            ("everyone", "sender"),
            ("inbox", "user"),
            ("copy", "user"),
            ("publishing", "user"),
            ("device", "user"),
            ("user", "id"),
        ):
            self._execute(f"DELETE FROM {table} WHERE {column} = ?", (self._user,))
        return self._messages

    def _delete_conversations(self, flush: int) -> None:
        messages = Ranges()
        for begin, end in flushed_runs(self._connection, flush, self._user, 0):
            messages.add(begin, end)
        done = 0
        for begin, end in messages:
            if end > done:
                done = self._delete_messages(max(begin, done), end)
        others = self._others(flush)
        self._delete_postings(flush, struct.pack(">I", self._user))
        for other in others:
            self._delete_postings(flush, struct.pack(">II", other, self._user))

    def _others(self, flush: int) -> set[int]:
        """Return the users who have a conversation with the user in a flush."""
        prefix = struct.pack(">I", self._user)
        return {
            other
            for postings in postings_between(self._connection, flush, prefix)
            for user, other, _, _ in POSTING.iter_unpack(postings)
            if user == self._user != other
        }

    def _delete_postings(self, flush: int, prefix: bytes) -> None:
        for postings in list(postings_between(self._connection, flush, prefix)):
            kept = b"".join(
                postings[start : start + POSTING.size]
                for start in range(0, len(postings), POSTING.size)
                if not postings.startswith(prefix, start)
            )
            row = (flush, postings[: POSTING.size])
            self._execute("DELETE FROM conversation WHERE flush = ? AND low = ?", row)
            if kept:
                values = (flush, kept[: POSTING.size], kept)
                self._execute("INSERT INTO conversation VALUES (?, ?, ?)", values)

    def _delete_messages(self, begin: int, end: int) -> int:
        """Rewrite the segments that have these messages.

        Returns:
            The offset behind the last segment.
        """
        place = begin
        while place < end:
            row = self._execute(
                "SELECT first, records FROM segment WHERE first <= ? ORDER BY first DESC LIMIT 1",
                (place,),
            ).fetchone()
            if row is None or end_of(*row) <= place:
                return place
            first, records = row
            left, deleted = without_user(first, records, self._user, self._name)
            if left != records:
                self._execute(
                    "UPDATE segment SET records = ?, checksum = ? WHERE first = ?",
                    (left, checksum(left), first),
                )
            self._note(deleted, records)
            place = end_of(first, records)
        return place

    def _note(self, deleted: Iterable[Record], data: bytes) -> None:
        for record in deleted:
            self._messages += record.messages
            # What another user has sent to this one alone is no copy for that user's devices.
            self._execute(
                "DELETE FROM copy WHERE user = ? AND last = ?",
                (record.sender, record.offset + record.messages - 1),
            )
            for recipient in recipients_of(record, data):
                if recipient != self._user:
                    ranges = self._waiting.setdefault(recipient, Ranges())
                    ranges.add(record.offset, record.offset + record.messages)

    def _delete_waiting(self, recipient: int, deleted: Ranges) -> None:
        rows = self._execute(
            "SELECT last - count + 1, last + 1 FROM inbox WHERE user = ? ORDER BY last",
            (recipient,),
        ).fetchall()
        left = Ranges()
        for begin, end in rows:
            for deleted_begin, deleted_end in deleted.between(begin, end):
                if deleted_begin > begin:
                    left.append(begin, deleted_begin)
                begin = deleted_end
            if begin < end:
                left.append(begin, end)
        self._execute("DELETE FROM inbox WHERE user = ?", (recipient,))
        self._connection.executemany(
            "INSERT INTO inbox (user, last, count) VALUES (?, ?, ?)",
            [(recipient, end - 1, end - begin) for begin, end in left],
        )
