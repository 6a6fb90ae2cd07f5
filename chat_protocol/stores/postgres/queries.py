"""What the PostgreSQL store answers to queries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import psycopg

from chat_protocol.domain.entries import Entry
from chat_protocol.domain.queries import Account, Conversation, Lookup, Page, Query, UserList
from chat_protocol.wire.frames import split_frames

__all__ = ["Queries"]

_FIELDS = "m.last, m.count, m.sender, m.device, m.scope, m.recipient, m.recipients, m.frames"

# One statement, so that it sees one moment. With two, the second could return a message to everyone
# whose offset is above that of a message that the first one did not see yet. `begin`: the offset of
# the first message in an entry that the device gets. A page is as many entries as have more
# messages than it holds. Of the copies the newest go with the mailbox, as many as it has room for.
_PAGES = f"""
SELECT {_FIELDS}, begin::bigint, place
FROM unnest(%b::integer[], %b::bigint[], %b::bigint[], %b::bigint[], %b::integer[])
    AS p (place, user_id, device_id, after, most)
JOIN account AS a ON a.id = p.user_id
LEFT JOIN device AS d ON a.device IS NULL AND d.user_id = a.id AND d.id = p.device_id
CROSS JOIN LATERAL (
    SELECT greatest(p.after, d.position, (SELECT before - 1 FROM expired),
        CASE WHEN a.device IS NOT NULL THEN a.position END) AS behind
) AS b
CROSS JOIN LATERAL (
    SELECT last, behind + 1 AS begin FROM (
        SELECT last, sum(last - greatest(last - count, behind)) OVER before AS ahead FROM inbox
        WHERE inbox.user_id = p.user_id AND last > behind
        WINDOW before AS (ORDER BY last ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW)
        ORDER BY last LIMIT most
    ) AS mail WHERE coalesce(ahead, 0) < most
    UNION ALL
    SELECT last, behind + 1 FROM (
        SELECT last, sum(last - greatest(last - count, behind)) OVER before AS ahead FROM message
        WHERE scope = 1 AND last > behind AND sender <> p.user_id
        WINDOW before AS (ORDER BY last ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW)
        ORDER BY last LIMIT most
    ) AS to_everyone WHERE coalesce(ahead, 0) < most
    UNION ALL
    (SELECT last, greatest(since, last - (room - newer)) + 1 FROM (
        SELECT last, since, room, coalesce(
            sum(last - greatest(last - count, since)) OVER after, 0
        ) AS newer
        FROM (SELECT greatest(behind, d.first) AS since, CASE WHEN a.device IS NULL THEN
            %b::bigint - (
                SELECT coalesce(sum(last - greatest(last - count, behind)), 0) FROM inbox
                WHERE inbox.user_id = p.user_id AND last > behind
            ) - (
                SELECT coalesce(sum(last - greatest(last - count, behind)), 0) FROM message
                WHERE scope = 1 AND last > behind AND sender <> p.user_id
            ) END AS room
        ) AS r JOIN copy ON a.device IS NULL AND copy.user_id = p.user_id
        AND copy.device <> p.device_id AND last > since
        WINDOW after AS (ORDER BY last DESC ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW)
    ) AS copies WHERE newer < room ORDER BY last LIMIT most)
) AS i
JOIN message AS m USING (last)
WHERE a.device = p.device_id OR d.position IS NOT NULL
ORDER BY place, last
"""

_ENTRIES = f"""
SELECT {_FIELDS}, 0, 0 FROM message AS m WHERE last = ANY(%b::bigint[]) ORDER BY last DESC
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
        SELECT coalesce(sum(last - greatest(last - count, a.position)), 0) FROM inbox, expired
        WHERE user_id = a.id AND last > a.position AND last < before
    ) + (
        SELECT coalesce(sum(last - greatest(last - count, a.position)), 0) FROM message, expired
        WHERE scope = 1 AND sender <> a.id AND last > a.position AND last >= before
    )
    WHEN d.position IS NULL THEN 0
    ELSE mail + least(most - least(mail, most), (
        SELECT coalesce(sum(last - greatest(last - count, behind, d.first)), 0) FROM copy
        WHERE user_id = a.id AND copy.device <> p.device_id AND last > greatest(behind, d.first)
    )) END::bigint, (
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
    SELECT (
        SELECT coalesce(sum(last - greatest(last - count, behind)), 0) FROM inbox
        WHERE user_id = a.id AND last > behind
    ) + (
        SELECT coalesce(sum(last - greatest(last - count, behind)), 0) FROM message
        WHERE scope = 1 AND sender <> a.id AND last > behind
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

# An entry that begins before the bound may end behind it.
_TALK = """
SELECT last FROM peer CROSS JOIN LATERAL (
    (SELECT last FROM conversation
    WHERE low = least(user_id, peer_id) AND high = greatest(user_id, peer_id)
    AND last < %(before)s ORDER BY last DESC LIMIT %(limit)s)
    UNION ALL
    SELECT last FROM (
        SELECT last, count FROM conversation
        WHERE low = least(user_id, peer_id) AND high = greatest(user_id, peer_id)
        AND last >= %(before)s ORDER BY last LIMIT 1
    ) AS next WHERE last - count < %(before)s - 1
) AS c WHERE user_id = %(me)s AND (peer_id = %(with)s OR %(with)s = 0)
"""

_TO_EVERYONE = """
(SELECT last FROM message WHERE scope = 1 AND (sender = %(from)s OR %(from)s = 0)
AND last > %(since)s AND last < %(before)s ORDER BY last DESC LIMIT %(limit)s)
UNION ALL
SELECT last FROM (
    SELECT last, count FROM message WHERE scope = 1 AND (sender = %(from)s OR %(from)s = 0)
    AND last > %(since)s AND last >= %(before)s ORDER BY last LIMIT 1
) AS next WHERE last - count < %(before)s - 1
"""

_NAMES_KEPT = 10_000
"""Names of users that are kept in memory, and of devices."""

_FORGOTTEN_DEVICE = " "
"""Stands for a device that there is no more: no device can have this name."""

_MAX_OFFSET = 2**63 - 1

_STEP = 20
"""Entries of a conversation that are read at a time, until the answer is full."""


class _Row(NamedTuple):
    """An entry in the table."""

    last: int
    messages: int
    sender: int
    device: int | None
    scope: int
    recipient: int
    recipients: list[int] | None
    frames: bytes
    begin: int
    """The offset of the first message that belongs to the answer, if the entry begins before."""
    place: int
    """Of the query that it answers."""

    @property
    def to(self) -> Sequence[int]:
        """The ids of the recipients; empty: everyone."""
        return self.recipients or ((self.recipient,) if self.recipient else ())


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
        rows = list(map(_Row._make, self._rows(_PAGES, values)))
        self._learn_names(rows)
        for page in pages:
            page.clear()
        for place, found in groupby(rows, attrgetter("place")):
            for row in found:
                entry = self._entry(row)
                if entry is not None and not pages[place].add(entry):
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

    def _entry(self, row: _Row) -> Entry | None:
        """Return the messages of a row; None: the sender was just deleted and has no name."""
        sender = self._names.get(row.sender)
        if sender is None:
            return None
        to = tuple(self._names[user_id] for user_id in row.to if user_id in self._names)
        device = "" if row.device is None else self._devices.get(row.device, _FORGOTTEN_DEVICE)
        first = row.last - row.messages + 1
        entry = Entry(first, sender, device, row.scope, to, split_frames(row.frames, row.messages))
        if row.recipients and len(to) == 1:
            # The others were deleted.
            entry = entry._replace(frames=entry._replace(to=()).messages_for(to[0]))
        return entry if row.begin <= first else entry.between(row.begin, entry.end)

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
        before = min(asked.before or _MAX_OFFSET, _MAX_OFFSET)
        lasts = sorted(self._find(asked, before), reverse=True)[: asked.limit]
        asked.clear()
        for start in range(0, len(lasts), _STEP):
            found = self._rows(_ENTRIES, (lasts[start : start + _STEP],))
            rows = [_Row._make(row) for row in found]
            self._learn_names(rows)
            for row in rows:
                entry = self._entry(row)
                if entry is not None and not asked.add(entry.between(entry.offset, before)):
                    return

    def _find(self, asked: Conversation, before: int) -> set[int]:
        """Return the last offsets of the newest entries of a conversation, and perhaps of more."""
        me, other, limit = asked.user_id, asked.with_id, asked.limit
        values = {"me": me, "with": other, "before": before, "limit": limit}
        found = {last for (last,) in self._rows(_TALK, values)}
        for sender, since in self._to_everyone(me, other):
            found.update(
                last
                for (last,) in self._rows(_TO_EVERYONE, values | {"from": sender, "since": since})
            )
        ((expired,),) = self._rows("SELECT before FROM expired", ())
        return {last for last in found if last >= expired}

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
