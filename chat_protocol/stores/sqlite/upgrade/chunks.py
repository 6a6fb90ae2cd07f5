"""Chunks: how versions 3 and 4 of the schema hold the messages.

A chunk is the offset of its first message and some kilobytes of entries. An entry is a head -
kind, sender, recipient, number of messages, bytes that follow - and these bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

__all__ = [
    "ChunkWriter",
    "Chunked",
    "Kind",
    "Publication",
    "chunked_in",
    "moves_of",
    "pack_publication",
    "pack_run",
    "publication_of",
    "published_of",
]

CHUNK_BYTES = 3500

_HEAD = struct.Struct(">BIIII")
_PUBLICATION = struct.Struct(">QQBHI")
_MOVE = struct.Struct(">IQ")
_PUBLISHED = struct.Struct(">Q")


class Kind(IntEnum):
    """What an entry holds."""

    WAITING_RUN = 1
    """Messages from one sender to one recipient, into the mailbox: version 1 frames."""
    LIVE_RUN = 2
    """The same, past the mailbox."""
    PUBLICATION = 3
    """One message to several users, whose number stands for the recipient, or to everyone."""
    RETURNED = 4
    """Many times a user and an offset: a message that came back to the mailbox."""
    TAKEN = 5
    """Many times a user and an offset up to which the mailbox was emptied."""
    PUBLISHED = 6
    """The publishing id of the first message of the run that follows; the number of messages that
    have one stands for the recipient."""
    GONE = 7
    """Offsets of messages that were deleted together with a user."""


class Chunked(NamedTuple):
    """The head of an entry, and where it stands."""

    kind: int
    sender: int
    recipient: int
    messages: int
    offset: int
    """Of the first message, or of the next one to come."""
    start: int
    """Where in the chunk the bytes behind the head begin."""
    end: int


class Publication(NamedTuple):
    """A message to several users or to everyone."""

    publishing_id: int
    time: int
    scope: int
    recipients: tuple[int, ...]
    sender: str
    to: tuple[str, ...]
    text: bytes


class ChunkWriter:
    """Packs entries into chunks.

    Args:
        last_offset: the last offset in use.
    """

    def __init__(self, last_offset: int) -> None:
        self.last_offset = last_offset
        self._first = last_offset + 1
        self._size = 0
        self._parts: list[bytes] = []
        self._rows: list[tuple[int, bytes]] = []

    def add(self, entry: bytes, messages: int) -> None:
        """Append an entry with so many messages, from ``last_offset + 1`` on."""
        if self._size >= CHUNK_BYTES:
            self.end_chunk()
        self._parts.append(entry)
        self._size += len(entry)
        self.last_offset += messages

    def end_chunk(self) -> None:
        """Begin another chunk."""
        if self._parts:
            self._rows.append((self._first, b"".join(self._parts)))
            self._parts = []
        self._first = self.last_offset + 1
        self._size = 0

    def rows(self) -> list[tuple[int, bytes]]:
        """Return the chunks since the last call, the last one ended."""
        self.end_chunk()
        rows, self._rows = self._rows, []
        return rows


def pack_run(sender: int, recipient: int, frames: Sequence[bytes]) -> bytes:
    """Return an entry of messages that are in no mailbox."""
    data = b"".join(frames)
    return _HEAD.pack(Kind.LIVE_RUN, sender, recipient, len(frames), len(data)) + data


def pack_publication(sender: int, publication: Publication) -> bytes:
    """Return an entry of one message to several users or to everyone."""
    publishing_id, time, scope, recipients, sender_name, names, text = publication
    name, to = sender_name.encode(), "\0".join(names).encode()
    head = _PUBLICATION.pack(publishing_id, time, scope, len(name), len(to))
    ids = struct.pack(f">{len(recipients)}I", *recipients)
    data = b"".join((head, ids, name, to, text))
    return _HEAD.pack(Kind.PUBLICATION, sender, len(recipients), 1, len(data)) + data


def chunked_in(first: int, data: bytes) -> Iterator[Chunked]:
    """Yield the entries of a chunk."""
    offset, place = first, 0
    while place < len(data):
        kind, sender, recipient, messages, size = _HEAD.unpack_from(data, place)
        start = place + _HEAD.size
        place = start + size
        yield Chunked(kind, sender, recipient, messages, offset, start, place)
        offset += messages


def publication_of(entry: Chunked, data: bytes) -> Publication:
    """Return the message of an entry of kind PUBLICATION."""
    id_, time, scope, name_size, to_size = _PUBLICATION.unpack_from(data, entry.start)
    ids_start = entry.start + _PUBLICATION.size
    ids = struct.unpack_from(f">{entry.recipient}I", data, ids_start)
    name_start = ids_start + 4 * entry.recipient
    to_start = name_start + name_size
    text_start = to_start + to_size
    sender = data[name_start:to_start].decode()
    to = tuple(data[to_start:text_start].decode().split("\0")) if to_size else ()
    return Publication(id_, time, scope, ids, sender, to, data[text_start : entry.end])


def published_of(entry: Chunked, data: bytes) -> int:
    """Return the publishing id of an entry of kind PUBLISHED."""
    (publishing_id,) = _PUBLISHED.unpack_from(data, entry.start)
    return int(publishing_id)


def moves_of(entry: Chunked, data: bytes) -> list[tuple[int, int]]:
    """Return the users and offsets of an entry of kind RETURNED or TAKEN."""
    return list(_MOVE.iter_unpack(data[entry.start : entry.end]))
