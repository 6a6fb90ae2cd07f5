"""What SQL alone cannot do when an older file of the SQLite store is upgraded."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from chat_protocol.stores.sqlite.upgrade.recent import file_recent
from chat_protocol.stores.sqlite.upgrade.version3 import pack_rows
from chat_protocol.stores.sqlite.upgrade.version5 import rewrite_chunks
from chat_protocol.stores.sqlite.upgrade.version6 import add_checksums

__all__ = ["AFTER", "BEFORE"]

BEFORE: dict[int, Callable[[sqlite3.Connection], None]] = {5: file_recent}
"""By the version of the schema: what comes in front of its SQL."""

AFTER: dict[int, Callable[[sqlite3.Connection], None]] = {
    3: pack_rows,
    5: rewrite_chunks,
    6: add_checksums,
}
"""By the version of the schema: what follows its SQL."""
