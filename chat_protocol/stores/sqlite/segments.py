"""Segments: the rows of the SQLite store that hold the messages.

A segment is the offset of its first message and some kilobytes of records, in the order in which
they were stored. Its messages have consecutive offsets.

A record is a head and data. The head has the kind, the ids of the sending user and of the device
that sent it (0: the unnamed device), the number of recipients (0: everyone), the number of
messages, the publishing id of the first message (0: none) and the size of the data in bytes. The
data of messages has the ids of the recipients, the names of several recipients, and the messages
as the version 1 frames in which they came, so that a batch costs no work for each message. See
domain.entries.Entry.

Positions are records as well, so that segments alone tell what is in each mailbox.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from chat_protocol.domain.entries import Entry
from chat_protocol.stores.sqlite.damage import checksum
from chat_protocol.wire.commands import Scope
from chat_protocol.wire.frames import names_of, split_frames

__all__ = [
    "Kind",
    "Record",
    "SegmentWriter",
    "end_of",
    "entries_between",
    "pack_deleted",
    "pack_messages",
    "pack_positions",
    "positions_of",
    "recipients_of",
    "records_of",
    "without_user",
]

SEGMENT_BYTES = 3500
"""A segment ends with the record that reaches this size, so that most fill a database page."""

_HEAD = struct.Struct(">BIIIIQI")
_HEAD_TO_ONE = struct.Struct(">BIIIIQII")
"""The head and the id of the only recipient."""
_ID_SIZE = 4
_NAMES_SIZE = struct.Struct(">I")
_POSITION = struct.Struct(">IIQ")


class Kind(IntEnum):
    """What a record holds."""

    MESSAGES = 1
    """One or more messages from one sender to one audience."""
    POSITIONS = 2
    """Positions: many times the id of a user, the id of a device and an offset."""
    DELETED = 3
    """Offsets of messages that were deleted together with a user."""


_MESSAGES = int(Kind.MESSAGES)
"""A plain number is packed faster."""


class Record(NamedTuple):
    """The head of a record, and where it stands."""

    kind: int
    sender: int
    device: int
    recipients: int
    messages: int
    publishing_id: int
    offset: int
    """Of the first message; without messages, the next one to come."""
    start: int
    """Where in the segment the data begins."""
    end: int
    """Where in the segment the data ends."""


class SegmentWriter:
    """Draws offsets and packs records into segments.

    Args:
        last_offset: the last offset in use.
    """

    def __init__(self, last_offset: int) -> None:
        self.last_offset = last_offset
        self._first = last_offset + 1
        self._size = 0
        self._parts: list[bytes] = []
        self._checksum = 0
        self._rows: list[tuple[int, bytes, int]] = []

    def draw(self, count: int) -> int:
        """Return the first of ``count`` new offsets, which the next record has."""
        if self._size >= SEGMENT_BYTES:
            self.end_segment()
        first = self.last_offset + 1
        self.last_offset += count
        return first

    def add(self, record: bytes) -> None:
        """Append a record: of messages whose offsets were just drawn, or without messages."""
        self._parts.append(record)
        self._size += len(record)

    def add_positions(self, positions: Sequence[tuple[int, int, int]]) -> None:
        """Append a record of positions; see :func:`pack_positions`."""
        if self._size >= SEGMENT_BYTES:
            self.end_segment()
        self.add(pack_positions(positions))

    def end_segment(self) -> None:
        """Begin another segment; a segment without messages uses up one offset."""
        self._gather()
        if self._size and self.last_offset < self._first:
            self.last_offset = self._first
        self._first = self.last_offset + 1
        self._size = self._checksum = 0

    def rows(self) -> list[tuple[int, bytes, int]]:
        """Return what was added since the last call, as rows to insert or to append to.

        Each has the offset of its first message, its records, and the checksum of the whole
        segment.
        """
        self._gather()
        rows, self._rows = self._rows, []
        return rows

    def _gather(self) -> None:
        if self._parts:
            records = b"".join(self._parts)
            self._checksum = checksum(records, self._checksum)
            self._rows.append((self._first, records, self._checksum))
            self._parts = []


# Packing.


def pack_messages(
    entry: Entry, sender: int, device: int, recipients: Sequence[int], publishing_id: int = 0
) -> bytes:
    """Return a record of messages.

    Args:
        entry: the messages.
        sender: the id of the user who sent them.
        device: the id of the device that sent them.
        recipients: the ids of the users in ``entry.to``.
        publishing_id: of the first message; 0: none.
    """
    frames = entry.frames
    data = frames[0] if len(frames) == 1 else b"".join(frames)
    messages, count, size = len(frames), len(recipients), len(data)
    if count == 1:
        size += _ID_SIZE
        (id_,) = recipients
        return (
            _HEAD_TO_ONE.pack(_MESSAGES, sender, device, 1, messages, publishing_id, size, id_)
            + data
        )
    address = b""
    if count:
        # No username holds a control character.
        names = "\0".join(entry.to).encode()
        address = struct.pack(f">{count}I", *recipients) + _NAMES_SIZE.pack(len(names)) + names
        size += len(address)
    head = _HEAD.pack(_MESSAGES, sender, device, count, messages, publishing_id, size)
    return b"".join((head, address, data))


def pack_positions(positions: Sequence[tuple[int, int, int]]) -> bytes:
    """Return a record of positions: ids of users, ids of devices, offsets."""
    data = b"".join([_POSITION.pack(*position) for position in positions])
    return _HEAD.pack(Kind.POSITIONS, 0, 0, 0, 0, 0, len(data)) + data


def pack_deleted(messages: int) -> bytes:
    """Return a record that stands for deleted messages."""
    return _HEAD.pack(Kind.DELETED, 0, 0, 0, messages, 0, 0)


# Unpacking. Damaged data raises struct.error, ValueError or IndexError.


def records_of(first: int, data: bytes) -> Iterator[Record]:
    """Yield the records of a segment.

    Args:
        first: the offset of its first message.
        data: its records.
    """
    offset, place = first, 0
    while place < len(data):
        kind, sender, device, recipients, messages, id_, size = _HEAD.unpack_from(data, place)
        start = place + _HEAD.size
        place = start + size
        yield Record(kind, sender, device, recipients, messages, id_, offset, start, place)
        offset += messages


def end_of(first: int, data: bytes) -> int:
    """Return the offset behind the last message of a segment."""
    end = first
    for record in records_of(first, data):
        end = record.offset + record.messages
    return end


def recipients_of(record: Record, data: bytes) -> tuple[int, ...]:
    """Return the ids of the recipients of messages; none if they went to everyone."""
    return struct.unpack_from(f">{record.recipients}I", data, record.start)


def positions_of(record: Record, data: bytes) -> list[tuple[int, int, int]]:
    """Return what :func:`pack_positions` was given."""
    return list(_POSITION.iter_unpack(data[record.start : record.end]))


def entries_between(
    first: int, data: bytes, begin: int, end: int, device_name: Callable[[int, int], str]
) -> Iterator[Entry]:
    """Yield the messages of a segment with offsets from ``begin`` to below ``end``.

    Args:
        first: see :func:`records_of`.
        data: see :func:`records_of`.
        begin: the first offset.
        end: the offset behind the last one.
        device_name: returns the name of a device, by the ids of its user and of itself.
    """
    for record in records_of(first, data):
        offset = record.offset
        if offset >= end:
            break
        if record.kind != Kind.MESSAGES or offset + record.messages <= begin:
            continue
        device = device_name(record.sender, record.device) if record.device else ""
        entry = _entry_of(record, data, device)
        yield entry if begin <= offset and entry.end <= end else entry.between(begin, end)


def _entry_of(record: Record, data: bytes, device: str) -> Entry:
    place = record.start + _ID_SIZE * record.recipients
    names = b""
    if record.recipients > 1:
        (size,) = _NAMES_SIZE.unpack_from(data, place)
        place += _NAMES_SIZE.size
        names = data[place : place + size]
        place += size
    frames = split_frames(data[place : record.end], record.messages)
    sender, recipient = names_of(frames[0])
    if record.recipients == 1:
        return Entry(record.offset, sender, device, Scope.USERS, (recipient,), frames)
    to = tuple(names.decode().split("\0")) if names else ()
    scope = Scope.USERS if to else Scope.EVERYONE
    return Entry(record.offset, sender, device, scope, to, frames)


# Deleting a user.


def without_user(first: int, data: bytes, user: int, name: str) -> tuple[bytes, list[Record]]:
    """Return a segment without a user, and the records that are deleted.

    Deleted is what the user sent, and what was sent to the user only. Where there are other
    recipients the user is removed from them.
    """
    parts: list[bytes] = []
    deleted: list[Record] = []
    for record in records_of(first, data):
        if record.kind == Kind.MESSAGES:
            recipients = recipients_of(record, data)
            if record.sender == user or recipients == (user,):
                deleted.append(record)
                parts.append(pack_deleted(record.messages))
                continue
            if user in recipients:
                parts.append(_without_recipient(record, data, user, name))
                continue
        parts.append(data[record.start - _HEAD.size : record.end])
    return b"".join(parts), deleted


def _without_recipient(record: Record, data: bytes, user: int, name: str) -> bytes:
    entry = _entry_of(record, data, "")
    ids = [one for one in recipients_of(record, data) if one != user]
    to = tuple(one for one in entry.to if one != name)
    frames = entry.messages_for(to[0]) if len(to) == 1 else entry.frames
    entry = entry._replace(to=to, frames=frames)
    return pack_messages(entry, record.sender, record.device, ids, record.publishing_id)
