"""The lock on a SQLite file that only one process can have."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

__all__ = ["FileLock"]


class FileLock:
    """Held from the beginning; the kernel frees it, whatever happens.

    It is a ``flock(2)`` on a file beside the database, ``-lock`` behind its real name: a link to
    the database is the same database. That file stays, unless :meth:`undo` is called.

    Args:
        path: of the database, which need not be there.

    Raises:
        BlockingIOError: another process has it.
        OSError: it cannot be had; with a ``filename`` if its file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._name = f"{os.path.realpath(path)}-lock"
        while True:
            self._open()
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_the_named_one():
                    return
            except BaseException:
                os.close(self._descriptor)
                raise
            # Whoever had made it took it away meanwhile: the next one locks another file.
            os.close(self._descriptor)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._made = True
        try:
            self._descriptor = os.open(self._name, flags | os.O_EXCL, 0o600)
        except FileExistsError:
            self._made = False
            self._descriptor = os.open(self._name, flags, 0o600)

    def _is_the_named_one(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._name))
        return False

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)

    def undo(self) -> None:
        """The same, and if this made the file, take it away."""
        # While it is held: nobody else's file can have that name.
        if self._made:
            with suppress(OSError):
                os.unlink(self._name)
        os.close(self._descriptor)
