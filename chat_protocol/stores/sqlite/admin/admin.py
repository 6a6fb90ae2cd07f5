"""The admin of a SQLite file."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from chat_protocol.errors import StoreUnusable
from chat_protocol.stores.admin import DeviceRecord, Findings, Statistics, UserRecord
from chat_protocol.stores.sqlite.admin.check import check_database
from chat_protocol.stores.sqlite.admin.copy import copy_database, put_in_place
from chat_protocol.stores.sqlite.admin.maintenance import MaintenanceDatabase
from chat_protocol.stores.sqlite.admin.target import check_name, check_replaceable, free_target, uri
from chat_protocol.stores.sqlite.admin.view import View
from chat_protocol.stores.sqlite.damage import DAMAGE, describe
from chat_protocol.stores.sqlite.file import APPLICATION_ID, SCHEMA_VERSION, lock
from chat_protocol.stores.sqlite.memtable import read_memtable

__all__ = ["SQLiteAdmin"]

_BUSY_SECONDS = 5.0
"""How long to wait for another program that has the file locked."""


class SQLiteAdmin:
    """The StoreAdmin of a file.

    Calls that only read can run beside a server, and see a snapshot. The write-ahead log of the
    server grows meanwhile.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    @classmethod
    def from_url(cls, rest: str) -> SQLiteAdmin:
        """Return the admin of ``sqlite:PATH``."""
        if not rest or rest.startswith(":"):
            raise ValueError("sqlite: wants the path of a file behind it, as in sqlite:chat.db")
        return cls(os.path.abspath(rest))

    # Beside a server.

    def backup(self, target: str, force: bool) -> int:
        """See StoreAdmin."""
        with _reading(self._path, old=True) as connection:
            # The copy has the second name until it is complete.
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
        """See StoreAdmin."""
        with _reading(self._path) as connection, _snapshot(connection):
            return check_database(connection)

    def statistics(self) -> Statistics:
        """See StoreAdmin."""
        with _reading(self._path) as connection, _snapshot(connection):
            return View(connection).statistics()

    def users(self) -> Iterator[UserRecord]:
        """See StoreAdmin."""
        with _reading(self._path) as connection, _snapshot(connection):
            yield from View(connection).users()

    def user(self, name: str) -> tuple[UserRecord, int]:
        """See StoreAdmin."""
        with _reading(self._path) as connection, _snapshot(connection):
            return View(connection).user(name)

    def devices(self, name: str) -> list[DeviceRecord]:
        """See StoreAdmin."""
        with _reading(self._path) as connection, _snapshot(connection):
            return View(connection).devices(name)

    # While no server runs.

    def forget_device(self, name: str, device: str) -> None:
        """See StoreAdmin."""
        with _maintaining(self._path) as database:
            database.forget_device(name, device)

    def restore(self, source: str, force: bool) -> None:
        """See StoreAdmin."""
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
        # It is prepared beside its place: the file at the path is never half of it.
        path = os.path.realpath(self._path)
        made = f"{path}.restored"
        if os.path.exists(made) and os.path.exists(source) and os.path.samefile(made, source):
            raise StoreUnusable(f"{source} has a name that restoring needs; give it another one")
        _remove(made)
        try:
            with _reading(source, old=True) as connection:
                copy_database(connection, made)
            # The store that is replaced may have used higher ones, if the clock was ahead.
            highest = max(time.time_ns() // 1000, _last_offset(path))
            with _maintaining(made) as database:
                database.raise_offsets(highest)
            put_in_place(made, path, keep_mode=True)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnusable(f"{source} cannot be restored: {error}") from error
        finally:
            _remove(made)

    def renumber(self) -> None:
        """See StoreAdmin."""
        with _maintaining(self._path) as database:
            database.raise_offsets(time.time_ns() // 1000)

    def delete_user(self, name: str) -> int:
        """See StoreAdmin."""
        with _maintaining(self._path) as database:
            return database.delete_user(name)

    def purge(self, before: int) -> int:
        """See StoreAdmin."""
        with _maintaining(self._path) as database:
            messages = self.statistics().messages
            database.purge(before)
            return messages - self.statistics().messages

    def compact(self) -> int:
        """See StoreAdmin."""
        with _maintaining(self._path) as database:
            return database.compact()


@contextmanager
def _reading(path: str, old: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a file to read it, whether or not a server uses it.

    Args:
        path: of the file.
        old: whether an older schema will do.
    """
    _check_exists(path)
    try:
        # A connection that cannot write leaves the checkpoints to the server.
        with closing(
            sqlite3.connect(uri(path), uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
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
    except (sqlite3.Error, *DAMAGE) as error:
        raise StoreUnusable(f"the store cannot be read: {describe(error, path)}") from error


def _last_offset(path: str) -> int:
    """Return the last offset in use of a file that is replaced; 0 if it cannot be read."""
    with suppress(StoreUnusable), _reading(path) as connection, _snapshot(connection):
        return read_memtable(connection)[2]
    return 0


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def _maintaining(path: str) -> Iterator[MaintenanceDatabase]:
    """Open a file that no server uses; it is upgraded if it is older."""
    _check_exists(path)
    database = MaintenanceDatabase(path, 0)
    try:
        yield database
    except (sqlite3.Error, *DAMAGE) as error:
        raise StoreUnusable(f"the store cannot be changed: {describe(error, path)}") from error
    finally:
        database.close()


def _check_exists(path: str) -> None:
    if not os.path.exists(path):
        raise StoreUnusable(f"there is no file {path}; name the right one with --store sqlite:PATH")
    if not os.path.getsize(path):
        raise StoreUnusable(f"{path} is empty: no server has used it yet")


def _remove(path: str) -> None:
    """Remove a prepared file and the files beside it."""
    copies = (f"-schema-{n}" for n in range(1, SCHEMA_VERSION))
    for end in ("", "-wal", "-shm", "-lock", ".part", *copies):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{end}")
