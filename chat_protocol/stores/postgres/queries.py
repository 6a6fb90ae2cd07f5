"""What the PostgreSQL store answers to queries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import psycopg

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.queries import Account, Conversation, Lookup, Page, Query, UserList
from chat_protocol.wire.frames import encode_delivered, encode_route

__all__ = ["Queries"]

_FIELDS = """m."offset", m.sender, m.device, m.scope, m.recipient, m.recipients, m.time, m.text"""

# One statement, so that it sees one moment. With two, the second could return a message to everyone
# whose offset is above that of a message that the first one did not see yet.
_PAGES = f"""
SELECT {_FIELDS}, place
FROM unnest(%b::integer[], %b::bigint[], %b::bigint[], %b::bigint[], %b::integer[])
    AS p (place, user_id, device_id, after, most)
JOIN account AS a ON a.id = p.user_id
LEFT JOIN device AS d ON a.device IS NULL AND d.user_id = a.id AND d.id = p.device_id
CROSS JOIN LATERAL (
    SELECT greatest(p.after, d.position, (SELECT before - 1 FROM expired),
        CASE WHEN a.device IS NOT NULL THEN a.position END) AS behind
) AS b
CROSS JOIN LATERAL (
    (SELECT "offset" FROM inbox WHERE inbox.user_id = p.user_id AND "offset" > behind
    ORDER BY "offset" LIMIT most)
    UNION ALL
    (SELECT "offset" FROM message WHERE scope = 1 AND "offset" > behind
    AND sender <> p.user_id ORDER BY "offset" LIMIT most)
    UNION ALL
    (SELECT "offset" FROM (
        SELECT "offset" FROM copy WHERE a.device IS NULL AND copy.user_id = p.user_id
        AND copy.device <> p.device_id AND "offset" > greatest(behind, d.first)
        ORDER BY "offset" DESC LIMIT CASE WHEN a.device IS NULL THEN greatest(0, %b::bigint - (
            SELECT count(*) FROM inbox WHERE inbox.user_id = p.user_id AND "offset" > behind
        ) - (
            SELECT count(*) FROM message WHERE scope = 1 AND "offset" > behind
            AND sender <> p.user_id
        )) END
    ) AS newest ORDER BY "offset" LIMIT most)
) AS i
JOIN message AS m USING ("offset")
WHERE a.device = p.device_id OR d.position IS NOT NULL
ORDER BY place, "offset"
"""

_MESSAGES = f"""
SELECT {_FIELDS}, 0 FROM message AS m WHERE m."offset" = ANY(%b::bigint[]) ORDER BY m."offset"
"""

_NAMES = "SELECT id, name FROM account WHERE id = ANY(%b::bigint[])"
_DEVICES = "SELECT id, name FROM device WHERE id = ANY(%b::bigint[])"

_USERS = """
SELECT name, last_login, EXISTS (
    SELECT FROM session JOIN node ON node.id = session.node AND lease_until > now()
    WHERE user_id = account.id AND left(session.device, 1) <> ' '
)
FROM account WHERE name > %s ORDER BY name LIMIT %s
"""

_ACCOUNT = """
SELECT CASE
    WHEN a.device = p.device_id THEN a.waiting - (
        SELECT count(*) FROM inbox, expired
        WHERE user_id = a.id AND "offset" > a.position AND "offset" < before
    ) + (
        SELECT count(*) FROM message, expired
        WHERE scope = 1 AND sender <> a.id AND "offset" > a.position AND "offset" >= before
    )
    WHEN d.position IS NULL THEN 0
    ELSE mail + least(most - least(mail, most), (
        SELECT count(*) FROM copy WHERE user_id = a.id AND copy.device <> p.device_id
        AND "offset" > greatest(behind, d.first)
    )) END, (
        SELECT last FROM publishing WHERE user_id = a.id AND publishing.device = p.device_id
        ORDER BY first DESC LIMIT 1
    )
FROM (VALUES (%b::bigint, %b::bigint, %b::bigint)) AS p (user_id, device_id, most)
JOIN account AS a ON a.id = p.user_id
LEFT JOIN device AS d ON a.device IS NULL AND d.user_id = a.id AND d.id = p.device_id
LEFT JOIN LATERAL (
    SELECT greatest(d.position, (SELECT before - 1 FROM expired)) AS behind
) AS b ON d.position IS NOT NULL
LEFT JOIN LATERAL (
    SELECT (SELECT count(*) FROM inbox WHERE user_id = a.id AND "offset" > behind) + (
        SELECT count(*) FROM message WHERE scope = 1 AND sender <> a.id AND "offset" > behind
    ) AS mail
) AS m ON d.position IS NOT NULL
"""

_LOOKUP = """
SELECT place, a.id, coalesce(d.id, 0), a.device = coalesce(d.id, -(l.device <> '')::integer)
    OR a.device IS NULL AND (d.position IS NOT NULL OR d.id IS NOT NULL AND left(d.name, 1) = ' '),
    a.device IS NULL
FROM unnest(%b::integer[], %b::text[], %b::text[]) AS l (place, name, device)
JOIN account AS a ON a.name = l.name
LEFT JOIN device AS d ON d.user_id = a.id AND d.name = l.device
"""

_TALK = """
SELECT last, count FROM peer CROSS JOIN LATERAL (
    SELECT last, count FROM conversation
    WHERE low = least(user_id, peer_id) AND high = greatest(user_id, peer_id)
    AND last < %(before)s ORDER BY last DESC LIMIT %(limit)s
) AS c WHERE user_id = %(me)s AND (peer_id = %(with)s OR %(with)s = 0)
"""

# Rows that begin before the bound and end behind it.
_TALK_ACROSS = """
SELECT last, count FROM peer CROSS JOIN LATERAL (
    SELECT last, count FROM conversation
    WHERE low = least(user_id, peer_id) AND high = greatest(user_id, peer_id)
    AND last >= %(before)s ORDER BY last LIMIT 1
) AS c WHERE user_id = %(me)s AND (peer_id = %(with)s OR %(with)s = 0)
"""

_TO_EVERYONE = """
SELECT "offset" FROM message WHERE scope = 1 AND (sender = %s OR %s = 0)
AND "offset" > %s AND "offset" < %s ORDER BY "offset" DESC LIMIT %s
"""

_NAMES_KEPT = 10_000
"""Names of users that are kept in memory, and of devices."""

_FORGOTTEN_DEVICE = " "
"""Stands for a device that there is no more: no device can have this name."""

_MAX_OFFSET = 2**63 - 1
_UINT64 = 0xFFFFFFFFFFFFFFFF

_STEP = 100
"""Messages of a conversation that are read at a time, until the answer is full."""


class _Row(NamedTuple):
    """A message in the table."""

    offset: int
    sender: int
    device: int | None
    scope: int
    recipient: int
    recipients: list[int] | None
    time: int
    text: bytes
    place: int
    """Of the query that it answers."""

    @property
    def to(self) -> Sequence[int]:
        """The ids of the recipients; empty: everyone."""
        return self.recipients or ((self.recipient,) if self.recipient else ())


def _runs(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Return the rows in lists that are as long as possible: each can become one Entry."""
    run: list[_Row] = []
    common: tuple[Any, ...] = ()
    for row in rows:
        # All but the offset, the time and the text. This is on the way of each message.
        key = row[1:6], row[8]
        if run and (key != common or row[0] != run[-1][0] + 1):
            yield run
            run = []
        run.append(row)
        common = key
    if run:
        yield run


class Queries:
    """Answers queries over an open connection; every call blocks and may raise psycopg.Error.

    Args:
        connection: in autocommit mode.
        limit: messages that a device may be behind by; 0: no limit.
    """

    def __init__(self, connection: psycopg.Connection[Any], limit: int) -> None:
        self._connection = connection
        self._limit = limit
        self._names: dict[int, str] = {}
        self._devices: dict[int, str] = {}

    def answer(self, queries: Sequence[Query]) -> None:
        """Fill queries in: pages together, look-ups together, the others one by one."""
        pages = [query for query in queries if isinstance(query, Page)]
        if pages:
            self._read_pages(pages)
        lookups = [query for query in queries if isinstance(query, Lookup)]
        if lookups:
            self._look_up(lookups)
        for query in queries:
            if isinstance(query, Account):
                self._read_account(query)
            elif isinstance(query, UserList):
                self._read_users(query)
            elif isinstance(query, Conversation):
                self._read_conversation(query)

    def _rows(self, query: str, values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values, binary=True).fetchall()

    def _look_up(self, lookups: Sequence[Lookup]) -> None:
        names, devices = [one.name for one in lookups], [one.device for one in lookups]
        for lookup in lookups:
            lookup.user_id, lookup.device_id, lookup.known = 0, 0, False
        for place, *found in self._rows(_LOOKUP, (list(range(len(lookups))), names, devices)):
            lookup = lookups[place]
            lookup.user_id, device_id, lookup.known, has_devices = found
            if lookup.known:
                lookup.device_id, lookup.has_devices = device_id, has_devices

    def _read_pages(self, pages: Sequence[Page]) -> None:
        values = (
            list(range(len(pages))),
            [page.user_id for page in pages],
            [page.device_id for page in pages],
            [page.after for page in pages],
            [page.max_messages + 1 for page in pages],
            self._limit or _MAX_OFFSET,
        )
        found: list[list[list[_Row]]] = [[] for _ in pages]
        for run in _runs(map(_Row._make, self._rows(_PAGES, values))):
            found[run[0].place].append(run)
        self._learn_names(run[0] for runs in found for run in runs)
        for page, runs in zip(pages, found, strict=True):
            page.clear()
            for run in runs:
                entry = self._entry(run)
                if entry is not None and not page.add(entry):
                    break

    def _learn_names(self, rows: Iterable[_Row]) -> None:
        """Read the names in these rows that are not known."""
        users: set[int] = set()
        devices: set[int] = set()
        for row in rows:
            users.add(row.sender)
            users.update(row.to)
            if row.device is not None:
                devices.add(row.device)
        for ids, names, query in (
            (users, self._names, _NAMES),
            (devices, self._devices, _DEVICES),
        ):
            if len(names) > _NAMES_KEPT:
                names.clear()
            unknown = ids - names.keys()
            if unknown:
                names.update(self._rows(query, (list(unknown),)))

    def _entry(self, rows: Sequence[_Row]) -> Entry | None:
        """Return messages of one run; None: the sender was just deleted and has no name."""
        first = rows[0]
        sender = self._names.get(first.sender)
        if sender is None:
            return None
        to = tuple(self._names[user_id] for user_id in first.to if user_id in self._names)
        device = "" if first.device is None else self._devices.get(first.device, _FORGOTTEN_DEVICE)
        route = encode_route(sender, to[0] if len(to) == 1 else "")
        frames = [encode_delivered(bytes(row.text), route, row.time & _UINT64) for row in rows]
        return Entry(first.offset, sender, device, first.scope, to, frames)

    def _read_users(self, asked: UserList) -> None:
        rows = self._rows(_USERS, (asked.after, asked.limit))
        asked.users = [(name, last_login) for name, last_login, _ in rows]
        asked.online = {name for name, _, online in rows if online}

    def _read_account(self, account: Account) -> None:
        values = (account.user_id, account.device_id, self._limit or _MAX_OFFSET)
        ((pending, last),) = self._rows(_ACCOUNT, values)
        account.pending = pending
        account.publishing_id = last or 0

    def _read_conversation(self, asked: Conversation) -> None:
        offsets = sorted(self._find(asked), reverse=True)[: asked.limit]
        asked.clear()
        for start in range(0, len(offsets), _STEP):
            found = self._rows(_MESSAGES, (offsets[start : start + _STEP],))
            rows = [_Row._make(row) for row in found]
            self._learn_names(rows)
            for row in reversed(rows):
                entry = self._entry([row])
                if entry is not None and not asked.add(entry):
                    return

    def _find(self, asked: Conversation) -> set[int]:
        """Return the newest offsets of a conversation, and perhaps more of them."""
        me, other, limit = asked.user_id, asked.with_id, asked.limit
        before = min(asked.before or _MAX_OFFSET, _MAX_OFFSET)
        found: set[int] = set()
        values = {"me": me, "with": other, "before": before, "limit": limit}
        for last, count in self._rows(_TALK_ACROSS, values):
            found.update(range(max(last - count + 1, before - limit), before))
        for last, count in self._rows(_TALK, values):
            found.update(range(max(last - count, last - limit) + 1, last + 1))
        for sender, since in self._to_everyone(me, other):
            rows = self._rows(_TO_EVERYONE, (sender, sender, since, before, limit))
            found.update(offset for (offset,) in rows)
        ((expired,),) = self._rows("SELECT before FROM expired", ())
        return {offset for offset in found if offset >= expired}

    def _to_everyone(self, me: int, other: int) -> list[tuple[int, int]]:
        """Return whose messages to everyone belong to a conversation, and from what offset on."""
        if other == me:
            return []
        ids = self._registered([me, other])
        if other:
            return [(other, ids[me]), (me, ids[other])]
        # Those of all users since the registration, and all of the user's own.
        return [(0, ids[me]), (me, 0)]

    def _registered(self, user_ids: Collection[int]) -> dict[int, int]:
        rows = self._rows(
            "SELECT id, registered FROM account WHERE id = ANY(%b::bigint[])", (list(user_ids),)
        )
        return dict(rows)
