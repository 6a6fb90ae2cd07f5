"""The messages of the SQLite store: entries, in the order in which they came, packed in chunks.

A chunk is a row: the offset of its first message and some kilobytes of entries. The messages of a
run are stored as the frames that they are, so that a batch costs no work for each of them.

An entry is a head - kind, sender, recipient, number of messages, bytes that follow - and these
bytes. The messages of a chunk have their offsets one by one. What else changes a mailbox is an
entry without messages, so that entries alone tell what is in all the mailboxes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from chat_protocol.domain.batch import Publication, Run
from chat_protocol.domain.stored import Stored, StoredRun
from chat_protocol.wire.frames import names_of

__all__ = [
    "ChunkWriter",
    "Entry",
    "Kind",
    "end_of",
    "entries_of",
    "messages_of",
    "pack_moves",
    "pack_publication",
    "pack_run",
    "parts_of",
    "recipients_of",
    "unpack_moves",
    "unpack_publication",
    "unpack_published",
    "without_user",
]

CHUNK_BYTES = 3500
"""A chunk ends with the entry that reaches so much. So most fill a page of the database."""

_HEAD = struct.Struct(">BIIII")
_PUBLICATION = struct.Struct(">QQBHI")
_MOVE = struct.Struct(">IQ")
_PUBLISHED = struct.Struct(">Q")


class Kind(IntEnum):
    """What an entry is."""

    WAITING_RUN = 1
    """Messages of one sender to one recipient, into the mailbox: version 1 frames."""
    LIVE_RUN = 2
    """The same, past the mailbox."""
    PUBLICATION = 3
    """One message to several users, whose number stands for the recipient, or to everyone."""
    RETURNED = 4
    """User and offset, many times: what went back to a mailbox."""
    TAKEN = 5
    """User and offset, many times: up to where a mailbox was emptied."""
    PUBLISHED = 6
    """The publishing id of the first message of the run that follows; how many have one stands
    for the recipient."""
    GONE = 7
    """Numbers of messages that went with a user who was deleted."""


class Entry(NamedTuple):
    """A part of a chunk."""

    kind: int
    sender: int
    recipient: int
    messages: int
    """How many."""
    offset: int
    """Of the first message, or the next one to come."""
    start: int
    """Where in the chunk the bytes behind the head stand."""
    end: int


class ChunkWriter:
    """Numbers messages and packs entries.

    Args:
        last_offset: the last number that was given.
    """

    def __init__(self, last_offset: int) -> None:
        self.last_offset = last_offset
        self._first = last_offset + 1
        self._size = 0
        self._parts: list[bytes] = []
        self._rows: list[tuple[int, bytes]] = []

    def add(self, entry: bytes, count: int) -> None:
        """Append an entry with so many messages, numbered from ``last_offset + 1``."""
        if self._size >= CHUNK_BYTES:
            self.end_chunk()
        self._parts.append(entry)
        self._size += len(entry)
        self.last_offset += count

    def end_chunk(self) -> None:
        """What follows is another chunk; a number is left out where this one has no message."""
        if self._parts:
            self._rows.append((self._first, b"".join(self._parts)))
            self._parts = []
        if self._size and self.last_offset < self._first:
            self.last_offset = self._first
        self._first = self.last_offset + 1
        self._size = 0

    def rows(self) -> list[tuple[int, bytes]]:
        """What was added since the last time: to insert, or to append to the chunk of that row."""
        if self._parts:
            self._rows.append((self._first, b"".join(self._parts)))
            self._parts = []
        rows, self._rows = self._rows, []
        return rows


def pack_run(run: Run, sender: int) -> bytes:
    """The accepted messages of a run as an entry."""
    kind = Kind.WAITING_RUN if run.waits else Kind.LIVE_RUN
    entry = pack_frames(kind, sender, run.recipient_id, run.stored().frames)
    if run.publishing_id:
        head = _HEAD.pack(Kind.PUBLISHED, sender, run.accepted, 0, _PUBLISHED.size)
        return head + _PUBLISHED.pack(run.publishing_id) + entry
    return entry


def pack_frames(kind: Kind, sender: int, recipient: int, frames: list[bytes]) -> bytes:
    """An entry of version 1 Messages with one route."""
    data = b"".join(frames)
    return _HEAD.pack(kind, sender, recipient, len(frames), len(data)) + data


def pack_publication(publication: Publication, sender: int) -> bytes:
    """A publication, its ``recipient_ids`` filled in, as an entry."""
    return pack_message(
        publication.stored(), sender, publication.recipient_ids, publication.publishing_id
    )


def pack_message(stored: Stored, sender: int, ids: list[int], publishing_id: int) -> bytes:
    """An entry of one message to the users with these ids, or to everyone."""
    name = stored.sender.encode()
    # No name holds a control character.
    to = "\0".join(stored.to).encode()
    head = _PUBLICATION.pack(publishing_id, stored.time, stored.scope, len(name), len(to))
    data = b"".join((head, struct.pack(f">{len(ids)}I", *ids), name, to, stored.text))
    return _HEAD.pack(Kind.PUBLICATION, sender, len(ids), 1, len(data)) + data


def pack_moves(kind: Kind, moves: list[tuple[int, int]]) -> bytes:
    """Users and offsets as an entry."""
    data = b"".join([_MOVE.pack(user, offset) for user, offset in moves])
    return _HEAD.pack(kind, 0, 0, 0, len(data)) + data


def entries_of(first: int, data: bytes) -> Iterator[Entry]:
    """The entries of a chunk."""
    offset, position = first, 0
    while position < len(data):
        kind, sender, recipient, count, size = _HEAD.unpack_from(data, position)
        start = position + _HEAD.size
        position = start + size
        yield Entry(kind, sender, recipient, count, offset, start, position)
        offset += count


def end_of(first: int, data: bytes) -> int:
    """The offset behind the last message of a chunk."""
    end = first
    for entry in entries_of(first, data):
        end = entry.offset + entry.messages
    return end


def messages_of(first: int, data: bytes, begin: int, end: int) -> list[Stored]:
    """The messages of a chunk whose offsets are from ``begin`` to below ``end``."""
    return [one for part in parts_of(first, data, begin, end) for one in part.messages()]


def parts_of(first: int, data: bytes, begin: int, end: int) -> Iterator[Stored | StoredRun]:
    """The same, as they are stored."""
    for entry in entries_of(first, data):
        offset = entry.offset
        if offset >= end:
            break
        if entry.kind == Kind.GONE or not entry.messages or offset + entry.messages <= begin:
            continue
        if entry.kind == Kind.PUBLICATION:
            yield _publication(entry, data)
        else:
            run = _run(entry, data)
            yield run if begin <= offset and run.end <= end else run.between(begin, end)


def _run(entry: Entry, data: bytes) -> StoredRun:
    frames = []
    position = entry.start
    for _ in range(entry.messages):
        end = position + 4 + int.from_bytes(data[position : position + 4], "big")
        frames.append(data[position:end])
        position = end
    sender, recipient = names_of(frames[0])
    return StoredRun(entry.offset, sender, recipient, frames)


def _publication(entry: Entry, data: bytes) -> Stored:
    _, time, scope, name_size, to_size = _PUBLICATION.unpack_from(data, entry.start)
    name_start = entry.start + _PUBLICATION.size + 4 * entry.recipient
    to_start = name_start + name_size
    text_start = to_start + to_size
    sender = data[name_start:to_start].decode()
    to = tuple(data[to_start:text_start].decode().split("\0")) if to_size else ()
    return Stored(entry.offset, sender, time, data[text_start : entry.end], scope, to)


def recipients_of(entry: Entry, data: bytes) -> tuple[int, ...]:
    """The ids of those whom the messages of an entry are for; none if that is everyone."""
    if entry.kind in (Kind.WAITING_RUN, Kind.LIVE_RUN):
        return (entry.recipient,)
    return unpack_publication(entry, data)[1] if entry.kind == Kind.PUBLICATION else ()


def without_user(first: int, data: bytes, user: int, name: str) -> tuple[bytes, list[Entry]]:
    """A chunk without what a user sent and what only that user was sent.

    With it the entries that are gone. Where there are other recipients the user is left out.
    """
    parts: list[bytes] = []
    gone: list[Entry] = []
    for entry in entries_of(first, data):
        recipients = recipients_of(entry, data)
        if entry.messages and (entry.sender == user or recipients == (user,)):
            gone.append(entry)
            parts.append(_HEAD.pack(Kind.GONE, 0, 0, entry.messages, 0))
        elif entry.kind == Kind.PUBLICATION and user in recipients:
            stored = _publication(entry, data)
            stored = stored._replace(to=tuple(one for one in stored.to if one != name))
            ids = [one for one in recipients if one != user]
            publishing_id, _ = unpack_publication(entry, data)
            parts.append(pack_message(stored, entry.sender, ids, publishing_id))
        else:
            parts.append(data[entry.start - _HEAD.size : entry.end])
    return b"".join(parts), gone


def unpack_publication(entry: Entry, data: bytes) -> tuple[int, tuple[int, ...]]:
    """The publishing id, and the ids of the recipients."""
    publishing_id, *_ = _PUBLICATION.unpack_from(data, entry.start)
    return publishing_id, struct.unpack_from(
        f">{entry.recipient}I", data, entry.start + _PUBLICATION.size
    )


def unpack_published(entry: Entry, data: bytes) -> int:
    """The first publishing id of a run."""
    (publishing_id,) = _PUBLISHED.unpack_from(data, entry.start)
    return int(publishing_id)


def unpack_moves(entry: Entry, data: bytes) -> list[tuple[int, int]]:
    """Users and offsets of RETURNED and TAKEN."""
    return list(_MOVE.iter_unpack(data[entry.start : entry.end]))
