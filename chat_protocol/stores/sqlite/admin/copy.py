"""Copies of a SQLite file: a snapshot, complete or not there, whatever is written meanwhile."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from chat_protocol.stores.sqlite.ownership import give_to_owner_of

__all__ = ["BESIDE", "copy_database", "put_in_place", "remove_database", "synced_folder"]

BESIDE = ("-journal", "-wal", "-shm")
"""Suffixes of the files beside a database that are part of it."""

_PAGES = 64
"""Pages that are copied at a time."""

_PAGES_UNSYNCED = 1024
"""Pages after which the copy is synced, so that the sync of a server never waits for all of it."""


def copy_database(connection: sqlite3.Connection, path: str, gently: bool = False) -> None:
    """Copy everything committed to a file, and sync it; an existing file is replaced at the end.

    The copy is a snapshot: a server can go on writing meanwhile. It needs no other file beside it.

    Args:
        connection: in no transaction.
        path: of the copy, which is called ``path.part`` until it is complete.
        gently: rest half of the time, for a server that uses the same disk.

    Raises:
        OSError, sqlite3.Error: there is no copy; an existing file at ``path`` is unchanged.
    """
    part = f"{path}.part"
    remove_database(part)
    try:
        # From the beginning only its owner can read it.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with (
            closing(sqlite3.connect(part, isolation_level=None)) as copy,
            _synced(part, gently) as sync,
        ):
            copy.execute("PRAGMA synchronous = OFF")
            # In a transaction: otherwise each write of a server would restart the copy.
            connection.execute("BEGIN")
            try:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                connection.backup(copy, pages=_PAGES, progress=lambda *_: sync())
            finally:
                connection.execute("ROLLBACK")
            copy.execute("PRAGMA journal_mode = DELETE")
        put_in_place(part, path)
    except BaseException:
        remove_database(part)
        raise


@contextmanager
def _synced(path: str, gently: bool) -> Iterator[_Sync]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield _Sync(descriptor, gently)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Sync:
    """Syncs a file at intervals.

    Args:
        descriptor: of the file.
        gently: rest after each sync for as long as the work before it took.
    """

    def __init__(self, descriptor: int, gently: bool) -> None:
        self._descriptor = descriptor
        self._gently = gently
        self._steps = 0
        self._began = time.monotonic()

    def __call__(self) -> None:
        self._steps += 1
        if self._steps * _PAGES % _PAGES_UNSYNCED == 0:
            os.fdatasync(self._descriptor)
            if self._gently:
                time.sleep(time.monotonic() - self._began)
                self._began = time.monotonic()


def synced_folder(path: str) -> None:
    """Sync the folder of a file, and so its name."""
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def put_in_place(made: str, path: str, keep_mode: bool = False) -> None:
    """Move a synced file, which has nothing beside it, over another one.

    It gets the owner of that one; if there is none, the owner of the folder.

    Args:
        made: the file.
        path: where it goes.
        keep_mode: whether it gets the mode of the other one, too.
    """
    # The folder may be another user's: what a link points to stays as it is.
    descriptor = os.open(made, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        give_to_owner_of(path, descriptor)
        if keep_mode and os.path.exists(path):
            os.fchmod(descriptor, stat.S_IMODE(os.stat(path).st_mode))
    finally:
        os.close(descriptor)
    # SQLite would apply the log of the old file to the new one.
    for end in BESIDE:
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{end}")
    os.replace(made, path)
    synced_folder(path)


def remove_database(path: str) -> None:
    """Remove a file, and what beside it is part of it."""
    for end in ("", *BESIDE):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{end}")
