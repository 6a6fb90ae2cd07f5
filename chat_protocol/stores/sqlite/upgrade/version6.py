"""Version 6 of the schema: segments have checksums."""

from __future__ import annotations

import sqlite3

from chat_protocol.stores.sqlite.damage import checksum

__all__ = ["add_checksums"]


def add_checksums(connection: sqlite3.Connection) -> None:
    """Compute the checksum of each segment."""
    connection.create_function("segment_checksum", 1, checksum, deterministic=True)
    connection.execute("UPDATE segment SET checksum = segment_checksum(records)")
