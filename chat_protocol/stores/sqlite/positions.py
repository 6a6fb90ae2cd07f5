"""Positions of devices in the SQLite store, and what leaves the mailboxes when they move."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from chat_protocol.domain.messages import Message, PositionKey
from chat_protocol.stores.broadcast_index import BroadcastIndex
from chat_protocol.stores.sqlite.ledger import Ledger
from chat_protocol.stores.sqlite.memtable import Memtable
from chat_protocol.stores.sqlite.segments import SegmentWriter

__all__ = ["Positions"]

_EMPTY_PART = """
UPDATE inbox SET count = last - ?2
WHERE user = ?1 AND last = (SELECT min(last) FROM inbox WHERE user = ?1 AND last > ?2)
AND last - count < ?2
"""

_MOVE = "UPDATE device SET position = ? WHERE user = ? AND id = ?"

_REMOVE_COPIES = """
DELETE FROM copy WHERE user = ?1 AND last <= CASE device WHEN ?2 THEN ?4 ELSE ?3 END
"""

_COUNT_COPIES = "SELECT coalesce(sum(count), 0) FROM copy WHERE user = ? AND device = ?"

_OLDEST_COPY = "SELECT last, count FROM copy WHERE user = ? AND device = ? ORDER BY last LIMIT 1"

_CUT_COPY = "UPDATE copy SET count = ? WHERE user = ? AND last = ?"

_MAX_OFFSET = 2**63 - 1


class Positions:
    """Moves positions in the transaction that is open.

    Args:
        connection: to the database.
        ledger: keeps mailboxes in memory.
        memtable: what the tables do not know yet.
        writer: takes records of positions.
        broadcasts: the offsets of the messages to everyone.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        ledger: Ledger,
        memtable: Memtable,
        writer: SegmentWriter,
        broadcasts: BroadcastIndex[int],
    ) -> None:
        self._execute = connection.execute
        self._ledger = ledger
        self._memtable = memtable
        self._writer = writer
        self._broadcasts = broadcasts

    def move(self, positions: Mapping[PositionKey, int]) -> None:
        """Move positions; the segments tell it where the tables do not."""
        moved = []
        for (user_id, device_id), offset in positions.items():
            mailbox = self._ledger.mailboxes.get(user_id) or self._ledger.mailbox(user_id)
            end = offset
            if mailbox.positions is not None:
                end = self._move_device(user_id, mailbox.positions, device_id, offset)
            if end and self._empty(user_id, end):
                moved.append((user_id, 0, end))
        if moved:
            self._writer.add_positions(moved)

    def _move_device(
        self, user_id: int, positions: dict[int, int], device_id: int, offset: int
    ) -> int:
        """Move the position of one device.

        Returns:
            Offset up to which all devices have received everything; 0: it is the same as before.
        """
        before = positions.get(device_id)
        if before is None or before >= offset:
            return 0
        lowest = min(positions.values())
        positions[device_id] = offset
        self._execute(_MOVE, (offset, user_id, device_id))
        self._remove_copies(user_id, positions)
        end = min(positions.values())
        return end if end > lowest else 0

    def _empty(self, user_id: int, offset: int) -> bool:
        """Empty a mailbox up to an offset; return whether it held messages in the memtable."""
        execute = self._execute
        mailbox = self._ledger.mailbox(user_id)
        if mailbox.flushed:
            execute("DELETE FROM inbox WHERE user = ? AND last <= ?", (user_id, offset))
            execute(_EMPTY_PART, (user_id, offset))
            self._ledger.count_flushed(user_id, mailbox)
        if mailbox.seen < self._broadcasts.last and mailbox.seen < offset:
            execute("UPDATE user SET seen = ? WHERE id = ?", (offset, user_id))
            mailbox.seen = offset
        return self._memtable.move(user_id, offset)

    def trim(self, user_id: int) -> None:
        """Remove what all devices have received, because one of them was forgotten."""
        positions = self._ledger.mailbox(user_id).positions
        if positions:
            self._remove_copies(user_id, positions)
            end = min(positions.values())
            if self._empty(user_id, end):
                self._writer.add_positions([(user_id, 0, end)])

    # Copies.

    def _remove_copies(self, user_id: int, positions: dict[int, int]) -> None:
        """Remove what all devices but the one that sent it have received."""
        first = min(positions, key=positions.__getitem__)
        others = [at for device_id, at in positions.items() if device_id != first]
        end = min(others, default=_MAX_OFFSET)
        self._execute(_REMOVE_COPIES, (user_id, first, positions[first], end))

    def copy(self, message: Message, device_id: int) -> None:
        """Keep a message for the other devices of its sender, if there are any.

        Above the mailbox limit the oldest ones from the same device are dropped.
        """
        user_id = message.sender.user.id
        positions = self._ledger.mailbox(user_id).positions or {}
        if user_id in message.recipient_ids or not positions.keys() - {device_id}:
            return
        message.copied = True
        last = message.offset + message.accepted - 1
        values = (user_id, last, message.accepted, device_id)
        self._execute("INSERT INTO copy (user, last, count, device) VALUES (?, ?, ?, ?)", values)
        limit = self._ledger.mailbox_limit
        if limit:
            (kept,) = self._execute(_COUNT_COPIES, (user_id, device_id)).fetchone()
            while kept > limit:
                last, count = self._execute(_OLDEST_COPY, (user_id, device_id)).fetchone()
                excess = kept - limit
                if count > excess:
                    self._execute(_CUT_COPY, (count - excess, user_id, last))
                else:
                    self._execute("DELETE FROM copy WHERE user = ? AND last = ?", (user_id, last))
                kept -= count
