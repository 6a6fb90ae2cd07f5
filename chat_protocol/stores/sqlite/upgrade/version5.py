"""Version 5 of the schema: chunks become segments, with one kind of record for all messages."""

from __future__ import annotations

import sqlite3

from chat_protocol.domain.admission import MAX_PUBLISHING_ID
from chat_protocol.domain.entries import Entry
from chat_protocol.stores.sqlite.segments import pack_deleted, pack_messages
from chat_protocol.stores.sqlite.upgrade.chunks import (
    Chunked,
    Kind,
    chunked_in,
    publication_of,
    published_of,
)
from chat_protocol.wire.frames import encode_delivered, encode_route, names_of

__all__ = ["rewrite_chunks"]

_CHUNKS = 16
"""Chunks that are in memory at a time. Most have some kilobytes, the largest about a megabyte."""


def rewrite_chunks(connection: sqlite3.Connection) -> None:
    """Move the messages of ``chunk`` to ``segment``, with the same offsets.

    The tables that are looked up in know all of them by now. Memory is needed for some chunks
    only, and the pages of the chunks that are done are used again.
    """
    last = 0
    while chunks := connection.execute(
        "SELECT first, entries FROM chunk WHERE first > ? ORDER BY first LIMIT ?", (last, _CHUNKS)
    ).fetchall():
        last = chunks[-1][0]
        segments = ((first, segment_of(first, entries)) for first, entries in chunks)
        connection.executemany(
            "INSERT INTO segment (first, records) VALUES (?, ?)",
            [(first, records) for first, records in segments if records],
        )
        connection.execute("DELETE FROM chunk WHERE first <= ?", (last,))
    connection.execute("DROP TABLE chunk")


def segment_of(first: int, data: bytes) -> bytes:
    """Return the records that say what a chunk says, but for the changes of mailboxes."""
    records = []
    publishing_id = 0
    for entry in chunked_in(first, data):
        if entry.kind == Kind.PUBLISHED:
            publishing_id = published_of(entry, data)
            continue
        if entry.kind in (Kind.WAITING_RUN, Kind.LIVE_RUN):
            records.append(_run(entry, data, publishing_id))
        elif entry.kind == Kind.PUBLICATION:
            records.append(_publication(entry, data))
        elif entry.kind == Kind.GONE:
            records.append(pack_deleted(entry.messages))
        publishing_id = 0
    return b"".join(records)


def _run(entry: Chunked, data: bytes, publishing_id: int) -> bytes:
    frames = []
    place = entry.start
    while place < entry.end:
        end = place + 4 + int.from_bytes(data[place : place + 4], "big")
        frames.append(data[place:end])
        place = end
    sender, recipient = names_of(frames[0])
    messages = Entry(entry.offset, sender, "", 0, (recipient,), frames)
    last = publishing_id + len(frames) - 1
    id_ = publishing_id if last <= MAX_PUBLISHING_ID else 0
    return pack_messages(messages, entry.sender, 0, (entry.recipient,), id_)


def _publication(entry: Chunked, data: bytes) -> bytes:
    id_, time, scope, recipients, sender, to, text = publication_of(entry, data)
    route = encode_route(sender, to[0] if len(to) == 1 else "")
    messages = Entry(entry.offset, sender, "", scope, to, [encode_delivered(text, route, time)])
    id_ = id_ if id_ <= MAX_PUBLISHING_ID else 0
    return pack_messages(messages, entry.sender, 0, recipients, id_)
