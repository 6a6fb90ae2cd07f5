"""Opening the file of the SQLite store: its lock, its schema, and why it can be refused."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from importlib.resources import files

from chat_protocol.errors import StoreUnusable
from chat_protocol.stores.sqlite.admin.copy import copy_database, remove_database
from chat_protocol.stores.sqlite.damage import DAMAGE, describe
from chat_protocol.stores.sqlite.lock import FileLock
from chat_protocol.stores.sqlite.upgrade import AFTER, BEFORE
from chat_protocol.stores.sqlite.wal import write_again

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "connect", "lock"]

APPLICATION_ID = 0x43686174
"""Marks the file as one of ours (``PRAGMA application_id``): "Chat" in ASCII."""

SCHEMA_VERSION = 7
"""``PRAGMA user_version`` of the newest schema."""

# Checkpoints are made where there is room for them: see Database.sync_and_checkpoint.
_PRAGMAS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 33554432;
PRAGMA busy_timeout = 5000;
PRAGMA cache_size = -4096;
PRAGMA secure_delete = FAST;
"""


def lock(path: str) -> FileLock:
    """Take the lock that only one process can hold.

    Raises:
        StoreUnusable: another process holds it, or it cannot be taken.
    """
    try:
        return FileLock(path)
    except BlockingIOError as error:
        raise StoreUnusable(
            f"{path} is in use by another process; stop that server first, or give this one"
            " a file of its own with --store sqlite:PATH"
        ) from error
    except OSError as error:
        if error.filename is None:
            raise StoreUnusable(f"{path} cannot be locked: {error.strerror}") from error
        raise StoreUnusable(
            f"{path} cannot be opened: {error.strerror} ({error.filename}); give --store"
            " sqlite:PATH in a directory that exists and can be written to"
        ) from error


def connect(path: str, say: Callable[[str], object] = str) -> sqlite3.Connection:
    """Open the database and bring its schema to the newest version; texts are bytes.

    An upgrade can take its time. A copy of the older file is kept.

    Args:
        path: of the file.
        say: takes sentences for the operator.

    Raises:
        StoreUnusable: it is no database, not ours, or newer than this program. Or it cannot be
            upgraded, and is as it was; or it cannot be created, and is not there.
    """
    connection = None
    created = _create_for_owner(path)
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.text_factory = bytes
        _check(connection, path)
        connection.executescript(_PRAGMAS)
        write_again(connection, path)
        _bring_up_to_date(connection, path, say)
        # Only the worker waits for another program, and it says so.
        connection.execute("PRAGMA busy_timeout = 0")
    except (OSError, sqlite3.Error, StoreUnusable, *DAMAGE) as error:
        if connection is not None:
            connection.close()
        if created:
            remove_database(path)
        if isinstance(error, StoreUnusable):
            raise
        raise StoreUnusable(
            f"cannot use the store: {describe(error, path)}; or give another file with --store"
            " sqlite:PATH"
        ) from error
    return connection


def _create_for_owner(path: str) -> bool:
    """Create a missing file for its owner only; return whether it was missing.

    SQLite gives its log the mode of the file.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError:
        # SQLite says what is wrong. A file that exists keeps its mode.
        return False
    return True


def _check(connection: sqlite3.Connection, path: str) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != APPLICATION_ID and (application_id or version or tables):
        raise StoreUnusable(
            f"{path} is a database of another program; give another file with --store sqlite:PATH"
        )
    if version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} was written by a newer version of this server (schema {version}, this one"
            f" knows {SCHEMA_VERSION}); use that version"
        )


def _bring_up_to_date(
    connection: sqlite3.Connection, path: str, say: Callable[[str], object]
) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not version:
        _create(connection, 0)
    elif version < SCHEMA_VERSION:
        copy = f"{path}-schema-{version}"
        say(f"Upgrading {path} from schema {version} to {SCHEMA_VERSION}, a copy goes to {copy}")
        try:
            copy_database(connection, copy)
            try:
                _create(connection, version)
            except BaseException:
                os.unlink(copy)
                raise
        except (OSError, sqlite3.Error) as error:
            raise StoreUnusable(
                f"{path} has to be upgraded to schema {SCHEMA_VERSION}, which failed, and is as it"
                f" was: {error}; there must be room for a copy of it beside it and as much again"
            ) from error
        say(f"Upgraded {path}; the older file is kept as {copy}, delete that when all is well")


def _create(connection: sqlite3.Connection, version: int) -> None:
    """Bring the schema from a version to the newest one, in one transaction.

    The first offset of a new database is the microsecond: clients that remember the offsets of
    another one drop messages with lower ones (clause S44).
    """
    connection.execute("BEGIN IMMEDIATE")
    for step in range(version + 1, SCHEMA_VERSION + 1):
        if step in BEFORE:
            BEFORE[step](connection)
        schema = files("chat_protocol.stores.sqlite").joinpath(f"schema/{step}.sql").read_text()
        for statement in _statements(schema):
            connection.execute(statement)
        if step in AFTER:
            AFTER[step](connection)
    if not version:
        last = time.time_ns() // 1000
        connection.execute("INSERT INTO flush (first, last) VALUES (1, ?)", (last,))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script; executescript() would commit before them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
