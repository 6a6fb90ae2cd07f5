"""What the PostgreSQL store answers from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import psycopg

from chat_protocol.domain.batch import Account, Conversation, Lookup, Page, Query, UserList
from chat_protocol.domain.stored import Stored

__all__ = ["Queries"]

_FIELDS = """m."offset", u.name, m.time, m.text, m.scope, m.recipients, r.name"""
_JOINS = "JOIN account AS u ON u.id = m.sender LEFT JOIN account AS r ON r.id = m.recipient"

# One statement, so that it sees one moment: of two, the second could find a message to everyone
# whose offset is above that of one that the first was too early for.
_WAITING = f"""
SELECT p.place, {_FIELDS}
FROM unnest(%b::integer[], %b::bigint[], %b::bigint[], %b::integer[])
    AS p (place, user_id, after, most)
JOIN account AS a ON a.id = p.user_id
CROSS JOIN LATERAL (
    (SELECT "offset" FROM inbox WHERE inbox.user_id = p.user_id AND "offset" > p.after
    ORDER BY "offset" LIMIT p.most)
    UNION ALL
    (SELECT "offset" FROM message WHERE scope = 1 AND "offset" > greatest(p.after, a.seen)
    AND sender <> p.user_id ORDER BY "offset" LIMIT p.most)
) AS i
JOIN message AS m USING ("offset") {_JOINS}
"""

_STORED = f'SELECT {_FIELDS} FROM message AS m {_JOINS} WHERE m."offset" = ANY(%b)'

_USERS = """
SELECT name, last_login, node.id IS NOT NULL
FROM account LEFT JOIN session ON user_id = account.id
LEFT JOIN node ON node.id = session.node AND lease_until > now()
WHERE name > %s ORDER BY name LIMIT %s
"""

_ACCOUNT = """
SELECT a.waiting + (
    SELECT count(*) FROM message WHERE scope = 1 AND sender <> a.id AND "offset" > a.seen
), (SELECT max(id) FROM publishing WHERE user_id = a.id)
FROM account AS a WHERE a.id = %s
"""

_WITH = """
SELECT last, count FROM peer CROSS JOIN LATERAL (
    SELECT last, count FROM conversation
    WHERE low = least(user_id, peer_id) AND high = greatest(user_id, peer_id)
    AND last < %(before)s ORDER BY last DESC LIMIT %(limit)s
) AS c WHERE user_id = %(me)s AND (peer_id = %(with)s OR %(with)s = 0)
"""

_WITH_ACROSS = """
SELECT last, count FROM peer CROSS JOIN LATERAL (
    SELECT last, count FROM conversation
    WHERE low = least(user_id, peer_id) AND high = greatest(user_id, peer_id)
    AND last >= %(before)s ORDER BY last LIMIT 1
) AS c WHERE user_id = %(me)s AND (peer_id = %(with)s OR %(with)s = 0)
"""

_FROM_ALL = """
SELECT "offset" FROM message WHERE scope = 1 AND (sender = %s OR %s = 0)
AND "offset" > %s AND "offset" < %s ORDER BY "offset" DESC LIMIT %s
"""

_NAMES_KEPT = 10_000
"""Names of recipients that are kept in memory."""

_MAX_OFFSET = 2**63 - 1
_UINT64 = 0xFFFFFFFFFFFFFFFF

_STEP = 100
"""Messages of a conversation that are read at a time, until the answer is full."""


class Queries:
    """Reads over an open connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._names: dict[int, str] = {}

    def answer(self, queries: Sequence[Query]) -> None:
        """Fill queries in, pages and look-ups all at once."""
        pages = [query for query in queries if isinstance(query, Page)]
        if pages:
            self._read_pages(pages)
        lookups = [query for query in queries if isinstance(query, Lookup)]
        if lookups:
            ids = self.user_ids({lookup.name for lookup in lookups})
            for lookup in lookups:
                lookup.user_id = ids.get(lookup.name, 0)
        for query in queries:
            if isinstance(query, Account):
                self._read_account(query)
            elif isinstance(query, UserList):
                self._read_users(query)
            elif isinstance(query, Conversation):
                self._read_conversation(query)

    def user_ids(self, names: Collection[str]) -> dict[str, int]:
        """The ids of those users that there are."""
        rows = self._rows("SELECT name, id FROM account WHERE name = ANY(%s)", (list(names),))
        return dict(rows)

    def _rows(self, query: str, values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values, binary=True).fetchall()

    def _read_pages(self, pages: Sequence[Page]) -> None:
        places = (
            list(range(len(pages))),
            [page.user_id for page in pages],
            [page.after for page in pages],
            [page.max_messages + 1 for page in pages],
        )
        found: list[list[tuple[Any, ...]]] = [[] for _ in pages]
        for row in self._rows(_WAITING, places):
            found[row[0]].append(row[1:])
        self._learn_names(row for rows in found for row in rows)
        for page, rows in zip(pages, found, strict=True):
            rows.sort()
            page.clear()
            for row in rows:
                if not page.add(self._stored(row)):
                    break

    def _learn_names(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Have the names of the recipients in these rows at hand."""
        if len(self._names) > _NAMES_KEPT:
            self._names.clear()
        unknown = {user_id for row in rows for user_id in row[5] or ()} - self._names.keys()
        if unknown:
            named = self._rows(
                "SELECT id, name FROM account WHERE id = ANY(%s)", (sorted(unknown),)
            )
            self._names.update(named)

    def _stored(self, row: tuple[Any, ...]) -> Stored:
        offset, sender, time, text, scope, several, recipient = row
        if several is not None:
            to = tuple(self._names[user_id] for user_id in several)
        else:
            to = (recipient,) if recipient is not None else ()
        return Stored(offset, sender, time & _UINT64, bytes(text), scope, to)

    def _read_users(self, asked: UserList) -> None:
        rows = self._rows(_USERS, (asked.after, asked.limit))
        asked.users = [(name, last_login) for name, last_login, _ in rows]
        asked.online = {name for name, _, online in rows if online}

    def _read_account(self, account: Account) -> None:
        ((pending, last),) = self._rows(_ACCOUNT, (account.user_id,))
        account.pending = pending
        account.publishing_id = last + 2**63 if last is not None else 0

    def _read_conversation(self, asked: Conversation) -> None:
        offsets = sorted(self._find(asked), reverse=True)[: asked.limit]
        size = 0
        newest: list[Stored] = []
        for start in range(0, len(offsets), _STEP):
            rows = self._rows(_STORED, (offsets[start : start + _STEP],))
            self._learn_names(rows)
            for row in sorted(rows, reverse=True):
                message = self._stored(row)
                size += message.size
                if newest and size > asked.max_bytes:
                    asked.messages = newest[::-1]
                    return
                newest.append(message)
        asked.messages = newest[::-1]

    def _find(self, asked: Conversation) -> set[int]:
        """The newest offsets of a conversation, and perhaps more of them."""
        me, other, limit = asked.user_id, asked.with_id, asked.limit
        before = min(asked.before or _MAX_OFFSET, _MAX_OFFSET)
        found: set[int] = set()
        values = {"me": me, "with": other, "before": before, "limit": limit}
        for last, count in self._rows(_WITH_ACROSS, values):
            found.update(range(max(last - count + 1, before - limit), before))
        for last, count in self._rows(_WITH, values):
            found.update(range(max(last - count, last - limit) + 1, last + 1))
        registered = dict(
            self._rows("SELECT id, registered FROM account WHERE id = ANY(%s)", ([me, other],))
        )
        to_all = [(other, registered[me])]
        if other and other != me:
            to_all.append((me, registered[other]))
        elif other == me and other:
            to_all = []
        for sender, since in to_all:
            rows = self._rows(_FROM_ALL, (sender, sender, since, before, limit))
            found.update(offset for (offset,) in rows)
        if not other:
            # What this user sent to everyone is not bounded by when it came, but it is no less.
            found.update(offset for (offset,) in self._rows(_FROM_ALL, (me, me, 0, before, limit)))
        return found
