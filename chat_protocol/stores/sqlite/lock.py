"""The lock on a SQLite file that only one process can hold."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from chat_protocol.stores.sqlite.ownership import give_to_owner_of

__all__ = ["FileLock"]


class FileLock:
    """A lock that is held from its creation on. The kernel frees it when the process ends.

    It is a ``flock(2)`` on a file beside the database, with ``-lock`` behind its real name: a link
    to the database is the same database. That file stays, unless :meth:`undo` is called.

    Args:
        path: of the database, which need not exist.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: it cannot be taken; with a ``filename`` if its file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.realpath(path)
        self._name = f"{self._path}-lock"
        while True:
            self._open()
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_the_named_one():
                    return
            except BaseException:
                os.close(self._descriptor)
                raise
            # The process that created the file has removed it: the next one locks another file.
            os.close(self._descriptor)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._created = True
        try:
            self._descriptor = os.open(self._name, flags | os.O_EXCL, 0o600)
            give_to_owner_of(self._path, self._descriptor)
        except FileExistsError:
            self._created = False
            self._descriptor = os.open(self._name, flags, 0o600)

    def _is_the_named_one(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._name))
        return False

    def release(self) -> None:
        """Free the lock."""
        os.close(self._descriptor)

    def undo(self) -> None:
        """Free the lock, and remove its file if this object created it."""
        # While the lock is held no other process has a file of that name.
        if self._created:
            with suppress(OSError):
                os.unlink(self._name)
        os.close(self._descriptor)
