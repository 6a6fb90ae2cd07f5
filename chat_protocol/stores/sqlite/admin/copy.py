"""Copies of a SQLite file: of one moment, whatever is written meanwhile, and whole or not there."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

__all__ = ["BESIDE", "copy_database", "put_in_place", "remove_database", "synced_folder"]

BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite's names of the files end with that are part of a file."""

_PAGES = 64
"""Pages that are copied in one go."""

_PAGES_UNSYNCED = 1024
"""Pages after which what was copied is synced, so that nobody else's sync has to wait for all."""


def copy_database(connection: sqlite3.Connection, path: str, gently: bool = False) -> None:
    """Copy what is committed to a file, over what is there; synced, and under its name at the end.

    It is as of the beginning: a server goes on writing meanwhile. The copy needs no other file
    beside it.

    Args:
        connection: in no transaction.
        path: of the copy; ``.part`` behind it names it while it is not whole.
        gently: take half of the time only, for a server that uses the same disk.

    Raises:
        OSError, sqlite3.Error: there is no copy; what was at ``path`` is still there.
    """
    part = f"{path}.part"
    remove_database(part)
    try:
        # Only its owner is to read it, from the beginning.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with (
            closing(sqlite3.connect(part, isolation_level=None)) as copy,
            _synced(part, gently) as sync,
        ):
            copy.execute("PRAGMA synchronous = OFF")
            # Read from one snapshot: otherwise each write of a server would have it begin anew.
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
    """Syncs a file now and then.

    Args:
        descriptor: of the file.
        gently: rest as long as it worked.
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
    """Make the name of a file last."""
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def put_in_place(made: str, path: str) -> None:
    """Have a file, which is one and synced, in the place of another one."""
    # The log of what was there would be taken for one of what comes.
    for end in BESIDE:
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{end}")
    os.replace(made, path)
    synced_folder(path)


def remove_database(path: str) -> None:
    """Have no such file, and nothing that is part of it."""
    for end in ("", *BESIDE):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{end}")
