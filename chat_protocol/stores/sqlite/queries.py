"""How the SQLite store answers queries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.queries import Account, Conversation, Lookup, Page, Query, UserList
from chat_protocol.domain.ranges import Ranges
from chat_protocol.stores.sqlite.conversations import flushed_runs
from chat_protocol.stores.sqlite.damage import SegmentDamaged, verify
from chat_protocol.stores.sqlite.mailbox_reader import MailboxReader
from chat_protocol.stores.sqlite.memtable import Memtable
from chat_protocol.stores.sqlite.segments import end_of, entries_between

__all__ = ["Queries"]

_SEGMENT = """
SELECT first, records, checksum FROM segment WHERE first <= ? ORDER BY first DESC LIMIT 1
"""

_FLUSHES = "SELECT first FROM flush WHERE first < ? ORDER BY first DESC"

_TO_EVERYONE = """
SELECT offset FROM everyone WHERE offset > ? AND offset < ? ORDER BY offset DESC LIMIT ?
"""

_TO_EVERYONE_FROM = """
SELECT offset FROM everyone WHERE sender = ? AND offset > ? AND offset < ?
ORDER BY offset DESC LIMIT ?
"""

_PUBLISHING_IDS = "SELECT last, count FROM publishing WHERE user = ? AND device = ? ORDER BY last"

_POSITION = """
SELECT position, first FROM device WHERE user = ? AND id = ? AND position IS NOT NULL
"""

_MAX_OFFSET = 2**63 - 1
_BEHIND_ALL = _MAX_OFFSET - 1


class Queries:
    """Reads from an open database.

    Args:
        connection: to the database; texts are bytes.
        memtable: what its tables do not know yet.
        mailboxes: finds what waits for users.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        memtable: Memtable,
        mailboxes: MailboxReader,
    ) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._memtable = memtable
        self._mailboxes = mailboxes

    def answer(self, query: Query) -> None:
        """Fill in the answer to a query."""
        if isinstance(query, Page):
            self._read_page(query)
        elif isinstance(query, Lookup):
            self._read_lookup(query)
        elif isinstance(query, Account):
            self._read_account(query)
        elif isinstance(query, UserList):
            self._read_users(query)
        else:
            self._read_conversation(query)

    def _one(self, query: str, *values: Any) -> Any:
        return self._execute(query, values).fetchone()

    # What admission needs to know, too.

    def user_id(self, name: str) -> int:
        """Return the id of a user, 0 if there is no user of that name."""
        row = self._one("SELECT id FROM user WHERE name = ?", name)
        return row[0] if row is not None else 0

    def device_id(self, user_id: int, name: str) -> int:
        """Return the id of a user's device, 0 if there is no row for that name."""
        row = self._one("SELECT id FROM device WHERE user = ? AND name = ?", user_id, name)
        return row[0] if row is not None else 0

    def publishing_ids(self, user_id: int, device_id: int) -> Ranges:
        """Return the publishing ids that are kept of a device."""
        ids = Ranges()
        for last, count in self._execute(_PUBLISHING_IDS, (user_id, device_id)):
            ids.append(last + 1 - count, last + 1)
        for begin, end in self._memtable.publishing.get((user_id, device_id), ()):
            ids.append(begin, end)
        return ids

    def _read_lookup(self, lookup: Lookup) -> None:
        row = self._one("SELECT id, devices FROM user WHERE name = ?", lookup.name)
        if row is None:
            return
        lookup.user_id, devices = row
        lookup.device_id = self.device_id(lookup.user_id, lookup.device)
        named = self._one("SELECT count(*) FROM device WHERE user = ? AND id > 0", lookup.user_id)
        if lookup.device:
            lookup.known = lookup.device_id > 0
        elif devices > 0:
            lookup.known = self._position(lookup.user_id, 0)[0] != _BEHIND_ALL
        else:
            lookup.known = devices == 0 and not named[0]
        lookup.has_devices = devices > 0

    # Mailboxes.

    def _read_page(self, page: Page) -> None:
        user_id, limit = page.user_id, page.max_messages + 1
        seen, devices = self._one("SELECT seen, devices FROM user WHERE id = ?", user_id)
        if devices > 0:
            position, first = self._position(user_id, page.device_id)
            after = max(page.after, position)
            found = self._mailboxes.waiting(user_id, after, position, limit)
            found += self._mailboxes.copies(user_id, page.device_id, after, first)
        elif not devices:
            found = self._mailboxes.waiting(user_id, page.after, seen, limit)
        else:
            found = []
        page.clear()
        for begin, end in _joined(found):
            for entry in self._entries(begin, end):
                if not page.add(entry):
                    return

    def _entries(self, begin: int, end: int) -> Iterator[Entry]:
        """Yield messages with consecutive offsets, all of which are stored."""
        while begin < end:
            first, records = self._segment(begin)
            yield from entries_between(first, records, begin, end, self._device_name)
            following = end_of(first, records)
            if following <= begin:
                raise SegmentDamaged(first)
            begin = following

    def _newest_entries(self, begin: int, end: int) -> Iterator[Entry]:
        """Yield the same from the last to the first."""
        while begin < end:
            first, records = self._segment(end - 1)
            entries = entries_between(first, records, begin, end, self._device_name)
            yield from reversed(list(entries))
            end = first

    def _segment(self, offset: int) -> tuple[int, bytes]:
        """Return the segment with a message: the offset of its first one, and its records."""
        first, records, expected = self._one(_SEGMENT, offset)
        verify(first, records, expected)
        return first, records

    def _device_name(self, user_id: int, device_id: int) -> str:
        row = self._one("SELECT name FROM device WHERE user = ? AND id = ?", user_id, device_id)
        # A forgotten device has no row any more.
        return row[0].decode() if row is not None else ""

    # Accounts and users.

    def _read_account(self, account: Account) -> None:
        user_id, device_id = account.user_id, account.device_id
        ids = self.publishing_ids(user_id, device_id)
        account.publishing_id = ids.edges[-1] - 1 if ids else 0
        seen, devices = self._one("SELECT seen, devices FROM user WHERE id = ?", user_id)
        mailboxes = self._mailboxes
        if devices > 0:
            position, first = self._position(user_id, device_id)
            copies = mailboxes.copies(user_id, device_id, position, first)
            account.pending = mailboxes.count(user_id, position)
            account.pending += sum(end - begin for begin, end in copies)
        elif not devices:
            account.pending = mailboxes.count_inbox(user_id, 0)
            account.pending += mailboxes.count_to_everyone(user_id, seen)

    def _position(self, user_id: int, device_id: int) -> tuple[int, int]:
        """Return the position of a device, and the last offset before its first login.

        A name under which the user only sends is behind all messages.
        """
        row = self._one(_POSITION, user_id, device_id)
        return row if row is not None else (_BEHIND_ALL, _BEHIND_ALL)

    def _read_users(self, users: UserList) -> None:
        rows = self._execute(
            "SELECT name, last_login FROM user WHERE name > ? ORDER BY name LIMIT ?",
            (users.after, users.limit),
        )
        users.users = [(name.decode(), last_login) for name, last_login in rows]

    # Conversations.

    def _read_conversation(self, asked: Conversation) -> None:
        asked.clear()
        for begin, end in reversed(list(_joined(self._find_conversation(asked)))):
            for entry in self._newest_entries(begin, end):
                if not asked.add(entry):
                    return

    def _find_conversation(self, asked: Conversation) -> list[tuple[int, int]]:
        """Return ranges of offsets, the newest ``limit`` among them."""
        me, other, limit = asked.user_id, asked.with_id, asked.limit
        before = min(asked.before or _MAX_OFFSET, _MAX_OFFSET)
        mine = self._visible_behind(me)
        found = self._find_own(me, other, mine, before, limit)
        if not other:
            found += self._offsets(_TO_EVERYONE, mine, before, limit)
        elif me != other:
            theirs = self._visible_behind(other)
            found += self._offsets(_TO_EVERYONE_FROM, other, mine, before, limit)
            found += self._offsets(_TO_EVERYONE_FROM, me, theirs, before, limit)
        return found

    def _visible_behind(self, user_id: int) -> int:
        """Return the offset behind which a message to everyone is the user's."""
        (registered,) = self._one("SELECT registered FROM user WHERE id = ?", user_id)
        return max(int(registered), self._mailboxes.expired - 1)

    def _find_own(
        self, user: int, other: int, since: int, before: int, limit: int
    ) -> list[tuple[int, int]]:
        """Return ranges of the newest offsets below ``before`` and above ``since``.

        The ranges hold at least ``limit`` offsets, or all of them.
        """
        # A set: a message to several recipients is found once for each of them.
        found = set(_between(since, before, self._memtable.runs(user, other)))
        for (first,) in self._execute(_FLUSHES, (before,)):
            if sum(end - begin for begin, end in found) >= limit:
                break
            runs = flushed_runs(self._connection, first, user, other)
            found.update(_between(since, before, runs))
            if first <= since:
                break
        return list(found)

    def _offsets(self, query: str, *values: int) -> list[tuple[int, int]]:
        return [(offset, offset + 1) for (offset,) in self._execute(query, values)]


def _between(since: int, before: int, runs: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    return (
        (max(begin, since + 1), min(end, before))
        for begin, end in runs
        if begin < before and end > since + 1
    )


def _joined(runs: list[tuple[int, int]]) -> Ranges:
    """Return disjoint runs as ranges, with consecutive ones joined."""
    ranges = Ranges()
    for begin, end in sorted(runs):
        ranges.append(begin, end)
    return ranges
