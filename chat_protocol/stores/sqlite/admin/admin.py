"""Care for a file of the SQLite store."""

from __future__ import annotations

import os
import sqlite3
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from chat_protocol.domain.ranges import Ranges
from chat_protocol.errors import StoreUnusable, UserNotFound
from chat_protocol.stores.admin import Findings, Statistics, UserRecord
from chat_protocol.stores.sqlite.admin.check import check_database
from chat_protocol.stores.sqlite.admin.copy import copy_database, put_in_place
from chat_protocol.stores.sqlite.admin.maintenance import OwnDatabase
from chat_protocol.stores.sqlite.admin.target import check_name, check_replaceable, free_target, uri
from chat_protocol.stores.sqlite.file import APPLICATION_ID, SCHEMA_VERSION, lock
from chat_protocol.stores.sqlite.memtable import filed_runs, read_recent
from chat_protocol.stores.sqlite.segments import Kind, entries_of

__all__ = ["SQLiteCaretaker"]

_PATIENCE = 5.0
"""Seconds to wait for another program."""

_OLDEST = """
SELECT time FROM moment WHERE first <= (SELECT min(first) FROM chunk WHERE first >= ?)
ORDER BY first DESC LIMIT 1
"""

_IN_INBOX = """
SELECT user, sum(min(count, last - ?1 + 1)) FROM inbox WHERE last >= ?1 GROUP BY user
"""


class SQLiteCaretaker:
    """A Caretaker of a file.

    What only reads does so beside a server, and sees one moment. A server's write-ahead log grows
    while that lasts.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    @classmethod
    def from_url(cls, rest: str) -> SQLiteCaretaker:
        """That of ``sqlite:PATH``."""
        if not rest or rest.startswith(":"):
            raise ValueError("sqlite: wants the path of a file behind it, as in sqlite:chat.db")
        return cls(os.path.abspath(rest))

    # Beside a server.

    def backup(self, target: str, force: bool) -> int:
        """See Caretaker."""
        with _reading(self._path, old=True) as connection:
            # What is copied has that name at first.
            for name in (target, f"{target}.part"):
                if os.path.exists(name) and os.path.samefile(name, self._path):
                    raise StoreUnusable(f"{name} is the store itself; give another file")
            try:
                with free_target(target, force):
                    copy_database(connection, target, gently=True)
            except FileExistsError:
                raise
            except (OSError, sqlite3.Error) as error:
                raise StoreUnusable(
                    f"no backup was made, {target} cannot be written: {error}; give a file in a"
                    " directory that has room"
                ) from error
        return os.stat(target).st_size

    def check(self) -> Findings:
        """See Caretaker."""
        with _reading(self._path) as connection:
            return check_database(connection)

    def statistics(self) -> Statistics:
        """See Caretaker."""
        with _reading(self._path) as connection, _one_moment(connection):
            view = _View(connection)
            (users,) = connection.execute("SELECT count(*) FROM user").fetchone()
            (oldest,) = connection.execute(_OLDEST, (view.below,)).fetchone() or (0,)
            (pages,), (size,), (free,) = (
                connection.execute(f"PRAGMA {name}").fetchone()
                for name in ("page_count", "page_size", "freelist_count")
            )
            return Statistics(
                users=users,
                messages=view.count_messages(),
                waiting=view.count_waiting(),
                oldest=oldest,
                bytes=pages * size,
                free_bytes=free * size,
                schema=SCHEMA_VERSION,
            )

    def users(self) -> Iterator[UserRecord]:
        """See Caretaker."""
        with _reading(self._path) as connection, _one_moment(connection):
            yield from _View(connection).users()

    def user(self, name: str) -> tuple[UserRecord, int]:
        """See Caretaker."""
        with _reading(self._path) as connection, _one_moment(connection):
            return _View(connection).user(name)

    # In the place of a server.

    def restore(self, source: str, force: bool) -> None:
        """See Caretaker."""
        check_name(self._path)
        held = lock(self._path)
        try:
            if os.path.exists(self._path):
                if not force and not self._is_without_users():
                    raise FileExistsError(self._path)
                check_replaceable(self._path)
            self._restore(source)
        except BaseException:
            held.undo()
            raise
        held.release()

    def _is_without_users(self) -> bool:
        if not os.path.getsize(self._path):
            return True
        with suppress(StoreUnusable), _reading(self._path) as connection:
            return connection.execute("SELECT 1 FROM user").fetchone() is None
        return False

    def _restore(self, source: str) -> None:
        # Made ready beside it: what is at the path is never half of it.
        path = os.path.realpath(self._path)
        made = f"{path}.restored"
        if os.path.exists(made) and os.path.exists(source) and os.path.samefile(made, source):
            raise StoreUnusable(f"{source} has a name that restoring needs; give it another one")
        _remove(made)
        try:
            with _reading(source, old=True) as connection:
                copy_database(connection, made)
            with _alone(made) as database:
                database.number_above(time.time_ns() // 1000)
            put_in_place(made, path)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnusable(f"{source} cannot be restored: {error}") from error
        finally:
            _remove(made)

    def renumber(self) -> None:
        """See Caretaker."""
        with _alone(self._path) as database:
            database.number_above(time.time_ns() // 1000)

    def delete_user(self, name: str) -> int:
        """See Caretaker."""
        with _alone(self._path) as database:
            return database.remove_user(database.find_user(name), name)

    def purge(self, before: int) -> int:
        """See Caretaker."""
        with _alone(self._path) as database:
            there = self.statistics().messages
            database.forget_all(before)
            return there - self.statistics().messages

    def compact(self) -> int:
        """See Caretaker."""
        with _alone(self._path) as database:
            before = os.stat(self._path).st_size
            database.compact()
        return before - os.stat(self._path).st_size


class _View:
    """What an open file says, as of the transaction that is open.

    Args:
        connection: texts are bytes.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._recent, self.below, _ = read_recent(connection)

    def count_messages(self) -> int:
        """All that are not forgotten."""
        count = 0
        chunks = self._execute("SELECT first, entries FROM chunk WHERE first >= ?", (self.below,))
        for first, entries in chunks:
            count += sum(
                entry.messages for entry in entries_of(first, entries) if entry.kind != Kind.GONE
            )
        return count

    def count_waiting(self) -> int:
        """Messages in mailboxes."""
        recent = self._recent
        count = sum(recent.count(user) for user in recent.mailboxes)
        for _, filed in self._execute(_IN_INBOX, (self.below,)):
            count += int(filed)
        return count

    def users(self) -> Iterator[UserRecord]:
        """In the order of their names' bytes."""
        filed = dict(self._execute(_IN_INBOX, (self.below,)))
        to_everyone: list[int] = []
        own: dict[int, list[int]] = {}
        for offset, sender in self._execute(
            "SELECT offset, sender FROM everyone WHERE offset >= ? ORDER BY offset", (self.below,)
        ):
            to_everyone.append(offset)
            own.setdefault(sender, []).append(offset)
        for id_, name, last_login, seen in self._execute(
            "SELECT id, name, last_login, seen FROM user ORDER BY name"
        ):
            waiting = filed.get(id_, 0) + self._recent.count(id_)
            for offsets, sign in ((to_everyone, 1), (own.get(id_, []), -1)):
                waiting += sign * (len(offsets) - bisect_right(offsets, seen))
            yield UserRecord(name.decode(), last_login, waiting)

    def user(self, name: str) -> tuple[UserRecord, int]:
        """See Caretaker."""
        row = self._execute("SELECT id FROM user WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise UserNotFound(f"there is no user {name}")
        user_id = row[0]
        messages = Ranges()
        for (filing,) in self._execute("SELECT first FROM filing ORDER BY first").fetchall():
            for begin, end in filed_runs(self._connection, filing, user_id, 0):
                if end > self.below:
                    messages.add(max(begin, self.below), end)
        for begin, end in self._recent.runs(user_id, 0):
            messages.add(begin, end)
        for (offset,) in self._execute(
            "SELECT offset FROM everyone WHERE sender = ? AND offset >= ?", (user_id, self.below)
        ):
            messages.add(offset, offset + 1)
        record = next(one for one in self.users() if one.name == name)
        return record, messages.count


@contextmanager
def _reading(path: str, old: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing, with or without a server.

    Args:
        path: of the file.
        old: whether an older schema will do.
    """
    _check_there(path)
    try:
        # One that may not write cannot checkpoint either, which is the server's to do.
        with closing(
            sqlite3.connect(uri(path), uri=True, isolation_level=None, timeout=_PATIENCE)
        ) as connection:
            connection.text_factory = bytes
            (application_id,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if application_id != APPLICATION_ID:
                raise StoreUnusable(f"{path} is a database of another program")
            if version > SCHEMA_VERSION:
                raise StoreUnusable(
                    f"{path} was written by a newer version (schema {version}, this one knows"
                    f" {SCHEMA_VERSION}); use that version"
                )
            if version < SCHEMA_VERSION and not old:
                raise StoreUnusable(
                    f"{path} was written by an older version (schema {version}, this one wants"
                    f" {SCHEMA_VERSION}); start the server once, which upgrades it"
                )
            yield connection
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path} cannot be read: SQLite says: {error}") from error


@contextmanager
def _one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def _alone(path: str) -> Iterator[OwnDatabase]:
    """The file, upgraded if need be, while no server has it."""
    _check_there(path)
    database = OwnDatabase(path, 0)
    try:
        yield database
    finally:
        database.close()


def _check_there(path: str) -> None:
    if not os.path.exists(path):
        raise StoreUnusable(f"there is no file {path}; name the right one with --store sqlite:PATH")
    if not os.path.getsize(path):
        raise StoreUnusable(f"{path} is empty: no server has used it yet")


def _remove(path: str) -> None:
    """A file that was made ready, and what stands beside it."""
    for end in ("", "-wal", "-shm", "-lock", *(f"-schema-{n}" for n in range(1, SCHEMA_VERSION))):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{end}")
