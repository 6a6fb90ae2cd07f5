"""Checks of a file before a SQLite database is written over it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

from chat_protocol.errors import StoreUnusable
from chat_protocol.stores.sqlite.admin.copy import BESIDE
from chat_protocol.stores.sqlite.file import APPLICATION_ID
from chat_protocol.stores.sqlite.lock import FileLock

__all__ = ["check_name", "check_replaceable", "free_target", "uri"]

_MAGIC = b"SQLite format 3\0"

_ENDS = ("-lock", *BESIDE)
"""Suffixes of the files that stand beside a store."""


def check_name(path: str) -> None:
    """Raise StoreUnusable if by its name the file would be part of a database beside it."""
    for name in (path, os.path.realpath(path)):
        for end in _ENDS:
            owner = name.removesuffix(end)
            if owner != name and os.path.isfile(owner):
                raise StoreUnusable(f"{path} belongs to {owner}; give another file")


def check_replaceable(path: str) -> None:
    """Raise StoreUnusable unless the file is empty or a database of this program."""
    if not os.path.isfile(path) or not _is_ours(path):
        raise StoreUnusable(
            f"{path} is neither empty nor a database of this program, and is left as it is; move"
            " it away, or give another file"
        )


@contextmanager
def free_target(path: str, force: bool) -> Iterator[None]:
    """Keep servers off a file while it is written.

    Args:
        path: of the file.
        force: whether an existing file may be replaced.

    Raises:
        FileExistsError: the file exists, and must not be replaced.
        StoreUnusable: it is in use, or no database of this program.
        OSError: it cannot be locked.
    """
    check_name(path)
    if not os.path.exists(path):
        yield
        return
    if not force:
        raise FileExistsError(path)
    try:
        lock = FileLock(path)
    except BlockingIOError:
        raise StoreUnusable(f"{path} is in use by a server; give another file") from None
    try:
        check_replaceable(path)
        yield
    finally:
        lock.undo()


def uri(path: str) -> str:
    """Return the URI to open a file read-only, see https://www.sqlite.org/uri.html."""
    return f"file:{quote(os.fsencode(path))}?mode=ro"


def _is_ours(path: str) -> bool:
    with open(path, "rb") as file:
        # https://www.sqlite.org/fileformat2.html#the_database_header
        header = file.read(72)
    if not header:
        return True
    if not header.startswith(_MAGIC):
        return False
    if int.from_bytes(header[68:], "big") == APPLICATION_ID:
        return True
    # What a killed server wrote may be in its log only.
    try:
        with closing(sqlite3.connect(uri(path), uri=True)) as connection:
            (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error:
        return False
    return bool(application_id == APPLICATION_ID)
