"""The write-ahead log of the SQLite store after a sync that failed, or after a crash.

To commit, SQLite writes the changed pages to the log, the last one with a commit mark, and syncs
the log (https://www.sqlite.org/atomiccommit.html, https://www.sqlite.org/wal.html). If the sync
fails, SQLite rolls back and says so, but the commit stays in the log: in the cache of the kernel,
and perhaps on the disk. If the process is killed now, the next one finds the commit there and
recovers it. So a failed sync has no known outcome, and the store says so (OutcomeUnknown).

To sync again would not tell more. After a failed sync Linux counts the pages as clean, and the
next fsync succeeds without writing them (https://lwn.net/Articles/752063/,
https://wiki.postgresql.org/wiki/Fsync_Errors). Nor may the commit be kept and built upon: if it is
not on the disk, a power loss ends the recovery there, and takes with it everything that was
committed, synced and answered later.

Therefore the store goes back to the state without that commit, and makes it the only one: it
commits another change at once, which overwrites the log from the same place on. The checksum of
each frame covers the frames before it, so nothing of the former commit is valid then; and since
the pages of the log are written again, the sync of that change counts. If this succeeds, the batch
is refused in the knowledge that it will never appear. If it fails, the outcome is unknown, and so
is that of every later batch until it has succeeded: a "refused" could turn out to be wrong.

The next process cannot know that a sync failed before the crash. So what it finds in the log is
written again, in place, and synced, before anything is committed behind it.
"""

from __future__ import annotations

import os
import sqlite3

__all__ = ["is_refused", "overwrite_last_commit", "write_again"]

_BUSY = 5
_FULL = 13
_IOERR_WRITE = 778
"""Result codes, https://www.sqlite.org/rescode.html. The commit mark is written last, so after a
failed write it is not in the log."""

_MESSAGES = ("database is locked", "database or disk is full")
"""What SQLite says for the first two. Before Python 3.11 exceptions have no code, and a failed
write says the same as a failed sync."""

_BYTES = 1024 * 1024


def is_refused(error: sqlite3.Error) -> bool:
    """Return whether a COMMIT failed before there was a commit mark in the log.

    Then nothing is stored, nor will be. Any other error can come from the sync or from behind it.
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return str(error) in _MESSAGES
    return code & 0xFF == _BUSY or code in (_FULL, _IOERR_WRITE)


def overwrite_last_commit(connection: sqlite3.Connection) -> None:
    """Commit a change in the place of a commit that was rolled back because its sync failed.

    Raises:
        sqlite3.Error: it is still unknown which state a recovery would find.
    """
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE state SET failed_syncs = failed_syncs + 1")
    connection.execute("COMMIT")


def write_again(connection: sqlite3.Connection, path: str) -> None:
    """Write what an earlier process left in the log again, and sync it.

    Args:
        connection: to the database, in no transaction.
        path: of the database.

    Raises:
        OSError: it cannot be written.
        sqlite3.Error: another program is writing to the database.
    """
    log = f"{os.path.realpath(path)}-wal"
    if not os.path.exists(log) or not os.path.getsize(log):
        return
    # While the lock is held no other program appends to the log.
    connection.execute("BEGIN IMMEDIATE")
    try:
        descriptor = os.open(log, os.O_RDWR | os.O_CLOEXEC)
        try:
            place = 0
            while data := os.pread(descriptor, _BYTES, place):
                place += os.pwrite(descriptor, data, place)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        connection.execute("ROLLBACK")
