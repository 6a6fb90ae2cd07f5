"""The place of an open file: whether its path still leads to it."""

from __future__ import annotations

import os

from chat_protocol.errors import Unavailable

__all__ = ["Place"]


class Place:
    """Notices that an open database was removed, moved or replaced.

    SQLite would go on writing to a file that nobody finds any more.

    Args:
        path: of the database, which is open.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._log = f"{os.path.realpath(path)}-wal"
        self._file = _identity(path)
        self._log_file: tuple[int, int] | None = None
        """The write-ahead log; None: it was not seen yet."""
        self.is_lost = False
        """Whether the last check failed."""

    def check(self) -> None:
        """Raise Unavailable unless the path leads to the open files."""
        self.is_lost = True
        self._compare(self._path, self._file)
        found = _identity(self._log)
        if self._log_file is None:
            self._log_file = found
        else:
            self._compare(self._log, self._log_file)
        self.is_lost = False

    def _compare(self, path: str, expected: tuple[int, int] | None) -> None:
        found = _identity(path)
        if found == expected:
            return
        what = "was removed or moved" if found is None else "was replaced by another file"
        raise Unavailable(
            f"{path} {what} while the server uses it, so nothing more is stored. Put it back, or"
            " stop the server"
        )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
