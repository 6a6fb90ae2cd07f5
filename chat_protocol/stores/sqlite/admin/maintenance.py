"""Maintenance of a SQLite file that no server uses."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from chat_protocol.errors import UserNotFound
from chat_protocol.stores.admin import check_forgettable
from chat_protocol.stores.sqlite.admin.deletion import UserDeletion
from chat_protocol.stores.sqlite.database import Database

__all__ = ["MaintenanceDatabase"]


class MaintenanceDatabase(Database):
    """A Database without a server: users are deleted, offsets raised, space is freed."""

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction in which the tables know everything; commit it at the end.

        What it deletes is overwritten with zeros.
        """
        self._connection.execute("PRAGMA secure_delete = ON")
        try:
            self._begin()
            if self._writer.last_offset > self._memtable.flushed:
                self._flush()
            yield self._connection
        except BaseException as error:
            self._undo(error)
        self.sync()
        self._load()

    def purge(self, before: int) -> None:
        """Remove all messages that were stored before a time, in nanoseconds since the epoch."""
        self._connection.execute("PRAGMA secure_delete = ON")
        while self.expire(before):
            pass

    def raise_offsets(self, offset: int) -> None:
        """Use only offsets above this one from now on."""
        with self._change() as connection:
            flushed = self._memtable.flushed
            if offset > flushed:
                connection.execute("INSERT INTO flush VALUES (?, ?)", (flushed + 1, offset))

    def delete_user(self, name: str) -> int:
        """Delete a user, the messages it sent, and those sent to it only.

        Returns:
            How many messages that were.

        Raises:
            UserNotFound: there is no user of that name.
        """
        user_id = self._queries.user_id(name)
        if not user_id:
            raise UserNotFound(f"there is no user {name}")
        # The deletion does not look for messages that are expired and still in the tables.
        self.purge(0)
        with self._change() as connection:
            return UserDeletion(connection, user_id, name).run()

    def forget_device(self, name: str, device: str) -> None:
        """Forget a device of a user; see StoreAdmin."""
        user_id = self._queries.user_id(name)
        if not user_id:
            raise UserNotFound(f"there is no user {name}")
        with self._change() as connection:
            (count,) = connection.execute(
                "SELECT devices FROM user WHERE id = ?", (user_id,)
            ).fetchone()
            check_forgettable(name, device, self._devices.names(user_id, count))
            self._devices.forget(user_id, device, self._wall_clock())

    def compact(self) -> int:
        """Give free space back to the system; return how many bytes that is."""
        before = self._size()
        self._connection.execute("VACUUM")
        return max(0, before - self._size())

    def _size(self) -> int:
        """Return the size of the file, with the write-ahead log moved into it."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return os.stat(self._path).st_size
