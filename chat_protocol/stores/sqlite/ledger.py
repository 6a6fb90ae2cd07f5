"""What the SQLite store keeps in memory so that most batches are admitted without a look-up."""

from __future__ import annotations

import json
import sqlite3
import sys

from chat_protocol.domain.admission import PUBLISHING_IDS, publish
from chat_protocol.domain.login_rules import is_device
from chat_protocol.domain.messages import Message, PositionKey
from chat_protocol.domain.ranges import Ranges
from chat_protocol.domain.users import Session, User
from chat_protocol.stores.sqlite.mailbox_reader import MailboxReader
from chat_protocol.stores.sqlite.memtable import Memtable
from chat_protocol.stores.sqlite.queries import Queries
from chat_protocol.stores.sqlite.segments import SegmentWriter

__all__ = ["Ledger", "Mailbox"]

_MAILBOXES_KEPT = 50_000
_DEVICES_KEPT = 50_000

_EDGES_KEPT = 200_000
"""Ends of ranges of publishing ids."""


_POSITIONS = "SELECT id, position FROM device WHERE user = ? AND position IS NOT NULL"

_NEXT_DEVICE = """
UPDATE user SET next_device = next_device + 1 WHERE id = ? RETURNING next_device - 1
"""

_REMOVE_PUBLISHING_IDS = """
DELETE FROM publishing WHERE (user, device, last) IN (
    SELECT user, device, last FROM json_each(?) JOIN publishing
    ON user = value->>0 AND device = value->>1 AND last < value->>2
)
"""


class Mailbox:
    """What is kept in memory of a mailbox."""

    __slots__ = ("flushed", "positions", "seen")

    def __init__(self, flushed: int, seen: int, positions: dict[int, int] | None = None) -> None:
        self.flushed = flushed
        """Messages of it in the table; without a mailbox limit, whether there are any."""
        self.seen = seen
        """Offset up to which messages to everyone are delivered."""
        self.positions = positions
        """Positions of the devices, by their ids; None: there is one device, without a position."""


class Ledger:
    """The Ledger of domain.admission, as of the transaction that is open.

    Args:
        mailbox_limit: messages that may wait for one user; 0: no limit.
        connection: to the database.
        queries: read the same database.
        reader: reads mailboxes in the same database.
        memtable: what its tables do not know yet.
        writer: draws the offsets.
    """

    def __init__(
        self,
        mailbox_limit: int,
        connection: sqlite3.Connection,
        queries: Queries,
        reader: MailboxReader,
        memtable: Memtable,
        writer: SegmentWriter,
    ) -> None:
        self.mailbox_limit = mailbox_limit
        self._execute = connection.execute
        self._queries = queries
        self._reader = reader
        self._memtable = memtable
        self.draw = writer.draw
        """See domain.admission.Ledger."""
        self.mailboxes: dict[int, Mailbox] = {}
        """By the id of the user; :meth:`mailbox` adds to it."""
        self._devices: dict[tuple[int, str], int] = {}
        """Ids of devices, by the id of the user and the name."""
        self._published: dict[PositionKey, Ranges] = {}
        self._edges = 0

    # What admission asks: see domain.admission.Ledger.

    def find(self, user: User) -> int:
        """See domain.admission.Ledger."""
        return self._queries.user_id(user.name)

    def room(self, user_id: int) -> int:
        """See domain.admission.Ledger."""
        limit = self.mailbox_limit
        if not limit:
            return sys.maxsize
        mailbox = self.mailboxes.get(user_id) or self.mailbox(user_id)
        if mailbox.positions is None:
            room = limit - mailbox.flushed - self._memtable.count(user_id)
        else:
            room = limit - self._reader.count_inbox(user_id, max(mailbox.positions.values()))
        return room if room > 0 else 0

    def published(self, sender: Session) -> Ranges:
        """See domain.admission.Ledger."""
        user_id = sender.user.id
        return self.published_by(user_id, self.device(user_id, sender.device))

    # What else is kept.

    def at_hand(self, message: Message) -> bool:
        """Return whether everything is in memory that storing a message needs."""
        sender = message.sender
        key = (sender.user.id, sender.device)
        device = self._devices.get(key) if sender.device else 0
        if device is None:
            return False
        if message.publishing_id and (sender.user.id, device) not in self._published:
            return False
        if sender.user.has_devices or not is_device(sender.device):
            return False
        for user in message.audience.recipients:
            if not user.id or (self.mailbox_limit and not self.is_simple(user.id)):
                return False
        return True

    def is_simple(self, user_id: int) -> bool:
        """Return whether a mailbox is in memory, and its user has one device."""
        mailbox = self.mailboxes.get(user_id)
        return mailbox is not None and mailbox.positions is None

    def mailbox(self, user_id: int) -> Mailbox:
        """Return what is known of a mailbox."""
        mailbox = self.mailboxes.get(user_id)
        if mailbox is None:
            if len(self.mailboxes) >= _MAILBOXES_KEPT:
                self.mailboxes.clear()
            flushed = self._reader.count_flushed(user_id, bool(self.mailbox_limit))
            row = self._execute("SELECT seen, devices FROM user WHERE id = ?", (user_id,))
            seen, devices = row.fetchone()
            positions = dict(self._execute(_POSITIONS, (user_id,))) if devices > 0 else None
            mailbox = self.mailboxes[user_id] = Mailbox(flushed, seen, positions)
        return mailbox

    def count_flushed(self, user_id: int, mailbox: Mailbox) -> None:
        """Count again what the table has of a mailbox."""
        mailbox.flushed = self._reader.count_flushed(user_id, bool(self.mailbox_limit))

    def device(self, user_id: int, name: str) -> int:
        """Return the id of a device, which gets a row if it is new; 0: the unnamed device."""
        if not name:
            return 0
        device_id = self._devices.get((user_id, name))
        if device_id is None:
            device_id = self._queries.device_id(user_id, name) or self._add_device(user_id, name)
            if len(self._devices) >= _DEVICES_KEPT:
                self._devices.clear()
            self._devices[user_id, name] = device_id
        return device_id

    def _add_device(self, user_id: int, name: str) -> int:
        (device_id,) = self._execute(_NEXT_DEVICE, (user_id,)).fetchone()
        self._execute(
            "INSERT INTO device (user, id, name) VALUES (?, ?, ?)", (user_id, device_id, name)
        )
        return int(device_id)

    def forget_device(self, user_id: int, device_id: int, name: str) -> None:
        """Forget what is kept of a device that has no row any more."""
        self._devices.pop((user_id, name), None)
        self._published.pop((user_id, device_id), None)
        self._memtable.publishing.pop((user_id, device_id), None)

    def publish(self, message: Message, device_id: int) -> None:
        """Note the publishing ids of an accepted message."""
        user_id, first = message.sender.user.id, message.publishing_id
        ids = self.published_by(user_id, device_id)
        before = len(ids.edges)
        publish(message, ids)
        self._edges += len(ids.edges) - before
        self._memtable.add_publishing(user_id, device_id, first, first + message.accepted)

    def published_by(self, user_id: int, device_id: int) -> Ranges:
        """Return the publishing ids that are kept of a device."""
        ids = self._published.get((user_id, device_id))
        if ids is None:
            if self._edges >= _EDGES_KEPT:
                self._published.clear()
                self._edges = 0
            ids = self._queries.publishing_ids(user_id, device_id)
            if ids.count > 2 * PUBLISHING_IDS:
                ids.keep_highest(PUBLISHING_IDS)
            self._published[user_id, device_id] = ids
            # A device without ids counts as well: there may be many.
            self._edges += len(ids.edges) + 2
        return ids

    def flushing(self) -> None:
        """Make room in the tables for the memtable, and count what it adds to the mailboxes.

        Publishing ids that are not looked back on any more are removed.
        """
        for user_id in self._memtable.mailboxes:
            mailbox = self.mailboxes.get(user_id)
            if mailbox is not None:
                mailbox.flushed += self._memtable.count(user_id)
        lowest = [
            (*key, self.published_by(*key).edges[0]) for key in sorted(self._memtable.publishing)
        ]
        if lowest:
            self._execute(_REMOVE_PUBLISHING_IDS, (json.dumps(lowest),))
