"""What the SQLite store answers from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Any

from chat_protocol.domain.batch import Account, Conversation, Lookup, Page, Query, UserList
from chat_protocol.domain.ranges import Ranges
from chat_protocol.domain.stored import Stored, StoredRun
from chat_protocol.stores.sqlite.memtable import Recent, filed_runs
from chat_protocol.stores.sqlite.segments import end_of, messages_of, parts_of

__all__ = ["Queries"]

_CHUNK = "SELECT first, entries FROM chunk WHERE first <= ? ORDER BY first DESC LIMIT 1"

_WAITING = """
SELECT last, count FROM inbox WHERE user = ? AND last > ? ORDER BY last LIMIT ?
"""

_COUNT = """
SELECT coalesce(sum(count), 0) FROM (
    SELECT min(count, last - ?2 + 1) AS count FROM inbox WHERE user = ?1 AND last >= ?2 LIMIT ?3
)
"""

_WAITING_AT = """
SELECT last - count FROM inbox WHERE user = ? AND last >= ? ORDER BY last LIMIT 1
"""

_TO_EVERYONE = """
SELECT offset FROM everyone WHERE offset > ? AND sender <> ? ORDER BY offset LIMIT ?
"""

_FILINGS = "SELECT first FROM filing WHERE first < ? ORDER BY first DESC"

_WITH_ALL = """
SELECT offset FROM everyone WHERE offset > ? AND offset < ? ORDER BY offset DESC LIMIT ?
"""

_FROM_ALL = """
SELECT offset FROM everyone WHERE sender = ? AND offset > ? AND offset < ?
ORDER BY offset DESC LIMIT ?
"""

_MAX_OFFSET = 2**63 - 1


class Queries:
    """Reads from an open database.

    Args:
        connection: to it.
        recent: what its tables do not know yet.
        below: messages with lower offsets are forgotten, though the tables may know them still.
    """

    def __init__(self, connection: sqlite3.Connection, recent: Recent, below: int) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._recent = recent
        self.below = below

    def answer(self, query: Query) -> None:
        """Fill a query in."""
        if isinstance(query, Page):
            self._read_page(query)
        elif isinstance(query, Lookup):
            query.user_id = self.user_id(query.name)
        elif isinstance(query, Account):
            self._read_account(query)
        elif isinstance(query, UserList):
            self._read_users(query)
        else:
            self._read_conversation(query)

    def _one(self, query: str, *values: Any) -> Any:
        return self._execute(query, values).fetchone()

    def user_id(self, name: str) -> int:
        """The id of a user, 0 if there is none of that name."""
        row = self._one("SELECT id FROM user WHERE name = ?", name)
        return row[0] if row is not None else 0

    def count_inbox(self, user_id: int, exactly: bool = True) -> int:
        """How many messages the table knows that wait for a user; or whether there are any."""
        (count,) = self._one(_COUNT, user_id, self.below, -1 if exactly else 1)
        return int(count)

    def in_inbox(self, user_id: int, offset: int) -> bool:
        """Whether the table knows that this message waits for that user."""
        row = self._one(_WAITING_AT, user_id, offset)
        return row is not None and row[0] < offset

    def publishing_ids(self, user_id: int) -> Ranges:
        """Those that are kept of a sender."""
        ids = Ranges()
        rows = "SELECT last, count FROM publishing WHERE user = ? ORDER BY last"
        for last, count in self._execute(rows, (user_id,)):
            end = last + 2**63 + 1
            ids.append(end - count, end)
        for begin, end in self._recent.publishing.get(user_id, ()):
            ids.add(begin, end)
        return ids

    def _read_page(self, page: Page) -> None:
        user_id, limit = page.user_id, page.max_messages + 1
        after = max(page.after, self.below - 1)
        found = [
            (max(last - count, after) + 1, last + 1)
            for last, count in self._execute(_WAITING, (user_id, after, limit))
        ]
        mailbox = self._recent.mailboxes.get(user_id)
        if mailbox is not None:
            found += islice(mailbox.between(after + 1, _MAX_OFFSET), limit)
        (seen,) = self._one("SELECT seen FROM user WHERE id = ?", user_id)
        everyones = self._execute(_TO_EVERYONE, (max(seen, after), user_id, limit))
        found += [(offset, offset + 1) for (offset,) in everyones]
        page.clear()
        for begin, end in _joined(found):
            for part in self._parts(begin, end):
                if not page.add(part):
                    return

    def _parts(self, begin: int, end: int) -> Iterator[Stored | StoredRun]:
        """Messages with offsets one by one."""
        while begin < end:
            first, entries = self._one(_CHUNK, begin)
            yield from parts_of(first, entries, begin, end)
            begin = end_of(first, entries)

    def _newest_messages(self, begin: int, end: int) -> Iterator[Stored]:
        """The same from the last to the first."""
        while begin < end:
            first, entries = self._one(_CHUNK, end - 1)
            yield from reversed(messages_of(first, entries, begin, end))
            end = first

    def _read_account(self, account: Account) -> None:
        user_id = account.user_id
        ids = self.publishing_ids(user_id)
        account.publishing_id = ids.edges[-1] - 1 if ids else 0
        (everyones,) = self._one(
            "SELECT count(*) FROM everyone WHERE sender <> ?1"
            " AND offset > (SELECT seen FROM user WHERE id = ?1) AND offset >= ?2",
            user_id,
            self.below,
        )
        account.pending = self.count_inbox(user_id) + self._recent.count(user_id) + everyones

    def _read_users(self, users: UserList) -> None:
        rows = self._execute(
            "SELECT name, last_login FROM user WHERE name > ? ORDER BY name LIMIT ?",
            (users.after, users.limit),
        )
        users.users = [(name.decode(), last_login) for name, last_login in rows]

    def _read_conversation(self, asked: Conversation) -> None:
        me, other, limit = asked.user_id, asked.with_id, asked.limit
        before = min(asked.before or _MAX_OFFSET, _MAX_OFFSET)
        mine = self._registered(me)
        found = self._with(me, other, mine, before, limit)
        if other:
            if me != other:
                found += self._offsets(_FROM_ALL, other, mine, before, limit)
                found += self._offsets(_FROM_ALL, me, self._registered(other), before, limit)
        else:
            found += self._offsets(_WITH_ALL, mine, before, limit)
        size = 0
        for begin, end in reversed(list(_joined(found))):
            for message in self._newest_messages(begin, end):
                size += message.size
                full = len(asked.messages) == limit
                if full or (asked.messages and size > asked.max_bytes):
                    asked.messages.reverse()
                    return
                asked.messages.append(message)
        asked.messages.reverse()

    def _registered(self, user_id: int) -> int:
        """Where what the user can see begins: behind this offset."""
        (registered,) = self._one("SELECT registered FROM user WHERE id = ?", user_id)
        return max(int(registered), self.below - 1)

    def _with(
        self, user: int, other: int, since: int, before: int, limit: int
    ) -> list[tuple[int, int]]:
        """Ranges of the newest offsets below ``before``; at least ``limit`` offsets, or all.

        There are none up to ``since``, but what is forgotten.
        """
        # A set: a message to several is in it for each of them.
        found = set(_between(since, before, self._recent.runs(user, other)))
        for (first,) in self._execute(_FILINGS, (before,)):
            if sum(end - begin for begin, end in found) >= limit:
                break
            runs = filed_runs(self._connection, first, user, other)
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
    """Disjoint runs, those that follow each other as one."""
    ranges = Ranges()
    for begin, end in sorted(runs):
        ranges.append(begin, end)
    return ranges
