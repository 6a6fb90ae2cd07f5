"""Damaged files of the SQLite store: how damage is noticed, and what the operator is told."""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib

__all__ = ["DAMAGE", "SegmentDamaged", "checksum", "describe", "verify"]

_CORRUPT = (11, 26)
"""SQLITE_CORRUPT and SQLITE_NOTADB, https://www.sqlite.org/rescode.html."""

_CORRUPT_WORDS = ("malformed", "not a database")
"""What SQLite says for these. Before Python 3.11 exceptions have no code."""


class SegmentDamaged(Exception):
    """A segment is not as it was written.

    Args:
        first: the offset of its first message.
    """

    def __init__(self, first: int) -> None:
        super().__init__(f"the messages from {first} on are not as they were written")


DAMAGE = (SegmentDamaged, struct.error, ValueError, IndexError, TypeError)
"""What reading a damaged file raises, besides sqlite3.Error."""


def checksum(records: bytes, before: int = 0) -> int:
    """Return the checksum of a segment: CRC-32.

    Args:
        records: of the segment, or what is appended to them.
        before: the checksum of what stands in front.
    """
    return zlib.crc32(records, before)


def verify(first: int, records: bytes, expected: int | None) -> None:
    """Raise SegmentDamaged unless a segment has this checksum; None: it has none."""
    if expected is not None and checksum(records) != expected:
        raise SegmentDamaged(first)


def describe(error: Exception, path: str) -> str:
    """Return a sentence for the operator about an error of an open or unreadable file."""
    name = "SQLite says: " if isinstance(error, sqlite3.Error) else ""
    if isinstance(error, DAMAGE) or _is_corrupt(error):
        return (
            f"{path} is damaged: {name}{error}. Stop the server, look at the file with chatadmin"
            " check, and restore a backup with chatadmin restore"
        )
    if _is_read_only(path):
        return (
            f"{path} is on a read-only file system, where a database with a write-ahead log cannot"
            f" be opened ({name}{error}). Copy it and the files beside it to a directory that can"
            " be written to, or mount the file system for writing"
        )
    return f"{path}: {name}{error}"


def _is_corrupt(error: Exception) -> bool:
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return any(words in str(error) for words in _CORRUPT_WORDS)
    return code & 0xFF in _CORRUPT


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(os.path.dirname(os.path.abspath(path))).f_flag & os.ST_RDONLY)
    except OSError:
        return False
