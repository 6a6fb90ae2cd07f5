"""Version 3 of the schema: the rows of ``message`` become chunks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

from chat_protocol.stores.sqlite.upgrade.chunks import (
    ChunkWriter,
    Publication,
    pack_publication,
    pack_run,
)
from chat_protocol.stores.sqlite.upgrade.recent import Recent
from chat_protocol.wire.frames import encode_delivered, encode_route

__all__ = ["pack_rows"]

_RUN_MESSAGES = 100
"""Most messages from one user to another that become one entry."""

_UINT64 = 0xFFFFFFFFFFFFFFFF


def pack_rows(connection: sqlite3.Connection) -> None:
    """Write the rows of ``message_2`` as chunks and to the conversations; drop the old tables."""
    writer, recent = ChunkWriter(0), Recent(0)
    for offset, count, entry in _entries(connection, recent):
        if offset != writer.last_offset + 1:
            _insert(connection, writer)
            writer = ChunkWriter(offset - 1)
        writer.add(entry, count)
        recent.wrote(len(entry))
        if recent.full:
            _insert(connection, writer)
            recent.file(connection, writer.last_offset)
    if writer.last_offset:
        _insert(connection, writer)
        recent.file(connection, writer.last_offset)
    for table in ("message_2", "inbox_2", "publishing_2"):
        connection.execute(f"DROP TABLE {table}")


def _insert(connection: sqlite3.Connection, writer: ChunkWriter) -> None:
    connection.executemany("INSERT INTO chunk (first, entries) VALUES (?, ?)", writer.rows())


def _entries(connection: sqlite3.Connection, recent: Recent) -> Iterator[tuple[int, int, bytes]]:
    """Yield first offset, number of messages and bytes of each entry; ``recent`` notes them."""
    names = {
        id_: str(name, "utf-8") for id_, name in connection.execute("SELECT id, name FROM user")
    }
    rows = connection.execute(
        "SELECT offset, sender, recipient, time, text, scope, recipients FROM message_2"
        " ORDER BY offset"
    )
    begin = end = run_sender = run_recipient = 0
    frames: list[bytes] = []

    def run() -> Iterator[tuple[int, int, bytes]]:
        if frames:
            recent.add_run(run_sender, run_recipient, begin, end, waits=False)
            yield begin, len(frames), pack_run(run_sender, run_recipient, frames)

    for offset, sender, recipient, time, text, scope, recipients in rows:
        follows = (offset, sender, recipient) == (end, run_sender, run_recipient)
        if not follows or not recipient or len(frames) >= _RUN_MESSAGES:
            yield from run()
            frames, begin, run_sender, run_recipient = [], offset, sender, recipient
        end = offset + 1
        time &= _UINT64
        if recipient:
            frames.append(
                encode_delivered(text, encode_route(names[sender], names[recipient]), time)
            )
            continue
        ids = tuple(json.loads(recipients)) if recipients is not None else ()
        recent.add_publication(sender, ids, offset)
        # Which messages wait stands in the table already.
        recent.mailboxes.clear()
        to = tuple(names[id_] for id_ in ids)
        publication = Publication(0, time, scope, ids, names[sender], to, text)
        yield offset, 1, pack_publication(sender, publication)
    yield from run()
