"""What the SQLite store answers from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from chat_protocol.domain.batch import (
    Account,
    Conversation,
    Lookup,
    Page,
    Query,
    Stored,
    UserList,
)

__all__ = ["Queries"]

_MESSAGE = """
SELECT message.offset, user.name, time, text, scope, recipients, other.name
FROM message JOIN user ON user.id = sender LEFT JOIN user AS other ON other.id = recipient
"""

_WAITING = """
SELECT message.offset, user.name, time, text, scope, recipients, other.name
FROM inbox JOIN message USING (offset)
JOIN user ON user.id = sender LEFT JOIN user AS other ON other.id = recipient
WHERE inbox.user = ? AND inbox.offset > ? ORDER BY inbox.offset LIMIT ?
"""

_TO_EVERYONE = f"""{_MESSAGE}
WHERE scope = 1 AND message.offset > ? AND sender <> ? ORDER BY message.offset LIMIT ?
"""

_WITH = """
SELECT last, count FROM conversation WHERE low = ?1 AND high = ?2 AND last < ?3
ORDER BY last DESC LIMIT ?4
"""

_WITH_ACROSS = """
SELECT last, count FROM conversation WHERE low = ?1 AND high = ?2 AND last >= ?3
ORDER BY last LIMIT 1
"""

_WITH_ALL = """
SELECT offset FROM message WHERE scope = 1 AND offset > ?1 AND offset < ?2
ORDER BY offset DESC LIMIT ?3
"""

_FROM_ALL = """
SELECT offset FROM message WHERE scope = 1 AND sender = ?1 AND offset > ?2 AND offset < ?3
ORDER BY offset DESC LIMIT ?4
"""

_NAMES_KEPT = 10_000
"""Names of recipients that are kept in memory."""

_MAX_OFFSET = 2**63 - 1
_UINT64 = 0xFFFFFFFFFFFFFFFF


class Queries:
    """Reads from an open database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._names: dict[int, str] = {}

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

    def count_inbox(self, user_id: int) -> int:
        """How many messages wait for a user, but for those to everyone."""
        (count,) = self._one("SELECT count(*) FROM inbox WHERE user = ?", user_id)
        return int(count)

    def publishing_ids(self, user_id: int) -> set[int]:
        """Those that are kept of a sender."""
        rows = self._execute("SELECT id FROM publishing WHERE user = ?", (user_id,))
        return {id_ + 2**63 for (id_,) in rows}

    def _read_page(self, page: Page) -> None:
        (seen,) = self._one("SELECT seen FROM user WHERE id = ?", page.user_id)
        limit = page.max_messages + 1
        messages = page.messages = []
        page.complete = True
        size = 0
        with (
            closing(self._execute(_WAITING, (page.user_id, page.after, limit))) as own,
            closing(
                self._execute(_TO_EVERYONE, (max(seen, page.after), page.user_id, limit))
            ) as everyones,
        ):
            for row in _merge(own, everyones):
                if len(messages) == page.max_messages or size >= page.max_bytes:
                    page.complete = False
                    return
                messages.append(self._stored(row))
                size += messages[-1].size

    def _stored(self, row: Any) -> Stored:
        offset, sender, time, text, scope, several, recipient = row
        if several is not None:
            to = tuple(self._name(user_id) for user_id in json.loads(several))
        else:
            to = (recipient.decode(),) if recipient is not None else ()
        return Stored(offset, sender.decode(), time & _UINT64, text, scope, to)

    def _name(self, user_id: int) -> str:
        name = self._names.get(user_id)
        if name is None:
            if len(self._names) >= _NAMES_KEPT:
                self._names.clear()
            (data,) = self._one("SELECT name FROM user WHERE id = ?", user_id)
            name = self._names[user_id] = str(data, "utf-8")
        return name

    def _read_account(self, account: Account) -> None:
        user_id = account.user_id
        (last,) = self._one("SELECT max(id) FROM publishing WHERE user = ?", user_id)
        account.publishing_id = last + 2**63 if last is not None else 0
        (everyones,) = self._one(
            "SELECT count(*) FROM message WHERE scope = 1 AND sender <> ?1"
            " AND offset > (SELECT seen FROM user WHERE id = ?1)",
            user_id,
        )
        account.pending = self.count_inbox(user_id) + everyones

    def _read_users(self, users: UserList) -> None:
        rows = self._execute(
            "SELECT name, last_login FROM user WHERE name > ? ORDER BY name LIMIT ?",
            (users.after, users.limit),
        )
        users.users = [(name.decode(), last_login) for name, last_login in rows]

    def _read_conversation(self, asked: Conversation) -> None:
        me, other, limit = asked.user_id, asked.with_id, asked.limit
        before = min(asked.before or _MAX_OFFSET, _MAX_OFFSET)
        found: set[int] = set()
        mine = self._registered(me)
        if other:
            found |= self._with(me, other, before, limit)
            theirs = self._registered(other)
            if me != other:
                found |= self._offsets(_FROM_ALL, other, mine, before, limit)
                found |= self._offsets(_FROM_ALL, me, theirs, before, limit)
        else:
            for (peer,) in self._execute("SELECT peer FROM peer WHERE user = ?", (me,)).fetchall():
                found |= self._with(me, peer, before, limit)
            found |= self._offsets(_WITH_ALL, mine, before, limit)
        size = 0
        for offset in sorted(found, reverse=True)[:limit]:
            message = self._stored(self._one(f"{_MESSAGE} WHERE message.offset = ?", offset))
            size += message.size
            if asked.messages and size > asked.max_bytes:
                break
            asked.messages.append(message)
        asked.messages.reverse()

    def _registered(self, user_id: int) -> int:
        return int(self._one("SELECT registered FROM user WHERE id = ?", user_id)[0])

    def _with(self, one: int, other: int, before: int, limit: int) -> set[int]:
        """The newest offsets below ``before`` in a conversation, and perhaps more of them."""
        low, high = min(one, other), max(one, other)
        found: set[int] = set()
        for last, count in self._execute(_WITH_ACROSS, (low, high, before)).fetchall():
            found.update(range(max(last - count + 1, before - limit), before))
        for last, count in self._execute(_WITH, (low, high, before, limit)):
            if len(found) >= limit:
                break
            found.update(range(max(last - count, last - limit) + 1, last + 1))
        return found

    def _offsets(self, query: str, *values: int) -> set[int]:
        return {offset for (offset,) in self._execute(query, values)}


def _merge(own: sqlite3.Cursor, everyones: sqlite3.Cursor) -> Iterable[Any]:
    """The rows of both in the order of their offsets."""
    one, other = own.fetchone(), everyones.fetchone()
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            yield one
            one = own.fetchone()
        else:
            yield other
            other = everyones.fetchone()
