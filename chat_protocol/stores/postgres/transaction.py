"""One batch as one transaction of the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, TypeAlias

import psycopg

from chat_protocol.domain.admission import admit
from chat_protocol.domain.messages import Batch, Message
from chat_protocol.domain.users import Session
from chat_protocol.errors import Unavailable
from chat_protocol.stores.postgres.known import Known, Published
from chat_protocol.stores.postgres.ledger import Ledger
from chat_protocol.stores.postgres.locks import EVERYONE_LOCK, NODE_LOCKS
from chat_protocol.stores.postgres.logins import Holder, Logins
from chat_protocol.stores.postgres.outcome import Outcome
from chat_protocol.stores.postgres.rows import Rows
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope

__all__ = ["Transaction"]

_Cursor: TypeAlias = "psycopg.Cursor[Any]"

_USER_IDS = "SELECT name, id FROM account WHERE name = ANY(%b::text[])"

_INSERT_ACCOUNTS = """
INSERT INTO account (name, last_login, registered, position)
SELECT name, 0, last, last FROM unnest(%b::text[]) AS name,
    (SELECT coalesce(max("offset"), 0) AS last FROM message WHERE scope = 1) AS everyone
ORDER BY name ON CONFLICT DO NOTHING
"""

_LOCK_ACCOUNTS = """
SELECT id, waiting, devices FROM account WHERE id = ANY(%b::bigint[])
ORDER BY id FOR NO KEY UPDATE
"""

# Rows up to the old position are deleted already: the scan of the index skips what is left of them.
_MOVE = """
WITH moved AS (
    SELECT account.id, account.position, upto
    FROM unnest(%b::bigint[], %b::bigint[]) AS m (id, upto) JOIN account USING (id)
    WHERE devices = 0 AND upto > position
), gone AS (
    DELETE FROM inbox USING moved
    WHERE user_id = id AND "offset" > position AND "offset" <= upto RETURNING user_id
), changed AS (
    SELECT id, max(upto) AS upto, sum(less)::integer AS less FROM (
        SELECT id, upto, 0 AS less FROM moved UNION ALL SELECT user_id, 0, 1 FROM gone
    ) AS c GROUP BY id
)
UPDATE account SET waiting = waiting - less, position = upto
FROM changed WHERE account.id = changed.id
RETURNING account.id, waiting
"""

# The same for users with named devices.
_MOVE_UNNAMED = """
UPDATE account SET position = greatest(position, upto)
FROM unnest(%b::bigint[], %b::bigint[]) AS m (id, upto) WHERE account.id = m.id
"""
_MOVE_NAMED = """
UPDATE device SET position = greatest(position, upto)
FROM unnest(%b::bigint[], %b::bigint[]) AS m (id, upto)
WHERE device.id = m.id AND position IS NOT NULL
"""
_CLEAR_INBOX = """
WITH lowest AS (
    SELECT account.id, least(account.position, min(device.position)) AS upto
    FROM account JOIN device ON user_id = account.id
    WHERE account.id = ANY(%b::bigint[]) GROUP BY account.id
), gone AS (
    DELETE FROM inbox USING lowest WHERE user_id = id AND "offset" <= upto RETURNING user_id
), counted AS (SELECT user_id, count(*)::integer AS less FROM gone GROUP BY user_id)
UPDATE account SET waiting = waiting - less FROM counted WHERE id = user_id
RETURNING id, waiting
"""

_SESSIONS = "SELECT user_id, node, number FROM session WHERE user_id = ANY(%b::bigint[])"

_HOLDERS = """
SELECT user_id, node, number, token, EXISTS (
    SELECT FROM node WHERE node.id = session.node AND lease_until > clock_timestamp()
) FROM session WHERE user_id = ANY(%b::bigint[])
"""

_ALIVE = "SELECT FROM node WHERE id = %b AND lease_until > clock_timestamp()"

_NUMBERS = "SELECT nextval('session_number') FROM generate_series(1, %b)"

_INSERT_DEVICES = """
INSERT INTO device (user_id, name) SELECT * FROM unnest(%b::bigint[], %b::text[])
ON CONFLICT DO NOTHING
"""
_DEVICES = """
SELECT user_id, name, id FROM device JOIN unnest(%b::bigint[], %b::text[]) AS d (user_id, name)
USING (user_id, name)
"""

_PUBLISHED = """
SELECT user_id, device, first, last FROM publishing
JOIN unnest(%b::bigint[], %b::bigint[]) AS p (user_id, device) USING (user_id, device)
ORDER BY user_id, device, first
"""

_DRAW_OFFSETS = "SELECT draw_offsets(%b)"

_INSERT_MESSAGES = """
INSERT INTO message ("offset", sender, device, recipient, recipients, scope, time, text)
SELECT "offset", sender, nullif(device, 0), recipient, recipients::bigint[], scope, time, text
FROM unnest(
    %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[],
    %b::text[], %b::bigint[], %b::bigint[], %b::bytea[]
) AS m ("offset", sender, device, recipient, recipients, scope, time, text)
"""
_INSERT_INBOX = "INSERT INTO inbox SELECT * FROM unnest(%b::bigint[], %b::bigint[])"
_INSERT_CONVERSATIONS = """
INSERT INTO conversation
SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[])
"""
_INSERT_PEERS = """
INSERT INTO peer SELECT * FROM unnest(%b::bigint[], %b::bigint[]) ON CONFLICT DO NOTHING
"""
_ADD_WAITING = """
UPDATE account SET waiting = waiting + more
FROM unnest(%b::bigint[], %b::integer[]) AS m (id, more) WHERE account.id = m.id
"""
_PUBLISH = """
INSERT INTO publishing SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[])
ON CONFLICT (user_id, device, first) DO UPDATE SET last = excluded.last
"""
_UNPUBLISH = """
DELETE FROM publishing USING unnest(%b::bigint[], %b::bigint[], %b::bigint[])
    AS kept (user_id, device, first)
WHERE publishing.user_id = kept.user_id AND publishing.device = kept.device AND last < kept.first
"""
_LOG_IN = """
UPDATE account SET last_login = time FROM unnest(%b::bigint[], %b::bigint[]) AS l (id, time)
WHERE account.id = l.id
"""
_BEGIN_SESSIONS = """
INSERT INTO session (user_id, node, number, token)
SELECT user_id, %b, number, token
FROM unnest(%b::bigint[], %b::bigint[], %b::text[]) AS s (user_id, number, token)
ON CONFLICT (user_id) DO UPDATE
SET node = excluded.node, number = excluded.number, token = excluded.token
"""
_END_SESSIONS = """
DELETE FROM session USING unnest(%b::bigint[], %b::bigint[]) AS released (user_id, number)
WHERE session.user_id = released.user_id AND session.number = released.number
"""
_NUMBER_BATCH = "UPDATE node SET batch = %b WHERE id = %b"


class Transaction:
    """One attempt to store a batch; every call blocks.

    The calls are :meth:`begin`, :meth:`admit` and :meth:`write`, in this order.

    Args:
        connection: in autocommit mode.
        pipeline: of the connection. It is synced before each answer that is needed: PostgreSQL
            counts only the time behind a sync as idle time of the transaction.
        node: the id of this node.
        mailbox_limit: messages that may wait in one mailbox; 0: no limit.
        known: what the node knows. What is stored is added to it.
        batch: to be stored.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        pipeline: psycopg.Pipeline,
        node: int,
        mailbox_limit: int,
        known: Known,
        batch: Batch,
    ) -> None:
        self._execute = connection.execute
        self._sync = pipeline.sync
        self._node = node
        self._limit = mailbox_limit
        self._known = known
        self._batch = batch
        self._ids: dict[str, int] = {}
        """Of users by their names, where the batch did not know the id."""
        self._sessions: dict[int, tuple[int, int]] = {}
        """By user id, the node and number of the session."""
        self._devices: dict[Session, int] = {}
        self._published: dict[Session, Published] = {}
        self._logins: Logins | None = None
        self._ledger: Ledger | None = None
        self._rows = Rows(known)
        self.outcome = Outcome()

    def begin(self, others: set[int]) -> set[int]:
        """Take all locks, decide on the logins, and read what the messages need.

        Args:
            others: nodes whose sessions may be replaced: their locks are taken too.

        Returns:
            Further such nodes. If there are any, the transaction has to be rolled back.

        Raises:
            Unavailable: the lease of this node has run out.
        """
        self._lock(others)
        self._find_users()
        self._find_devices()
        return self._read(others)

    def admit(self) -> None:
        """Decide on the messages."""
        here, ledger, outcome = self._node, self._ledger, self.outcome
        if ledger is None:
            return
        for message in self._batch.messages:
            sender = message.sender
            if self._sessions.get(sender.user.id) != (here, sender.number):
                message.refuse(Code.UNAVAILABLE, "another connection took the session over")
                outcome.lost.add(sender)
            elif admit(message, ledger):
                self._accept(message, ledger)

    def _accept(self, message: Message, ledger: Ledger) -> None:
        sender = message.sender
        device = self._devices.get(sender, 0)
        self._rows.add(message, device)
        if message.publishing_id:
            self._rows.publish(message, device, self._published[sender])
        outcome = self.outcome
        outcome.everyone |= message.audience.scope == Scope.EVERYONE
        for user_id in message.recipient_ids:
            ledger.added[user_id] += message.accepted
            session = self._sessions.get(user_id)
            if session is not None:
                outcome.notified.setdefault(session[0], set()).add(user_id)

    # What begin() does.

    def _lock(self, others: set[int]) -> None:
        execute = self._execute
        execute("BEGIN")
        everyone = any(one.audience.scope == Scope.EVERYONE for one in self._batch.messages)
        shared = "" if everyone else "_shared"
        execute(f"SELECT pg_advisory_xact_lock{shared}(%b)", (EVERYONE_LOCK,))
        for node in sorted({self._node, *others}):
            shared = "_shared" if node == self._node else ""
            execute(f"SELECT pg_advisory_xact_lock{shared}(%b, %b)", (NODE_LOCKS, node))

    def _find_users(self) -> None:
        """Look up users of whom the batch knows the name only, and register new ones."""
        execute, batch = self._execute, self._batch
        recipients = (user for one in batch.messages for user in one.audience.recipients)
        names = {user.name for user in recipients if not user.id}
        logins = {one.name for one in batch.registrations}
        names |= logins
        if not names:
            return
        found = execute(_USER_IDS, (list(names),))
        self._sync()
        self._ids = dict(found.fetchall())
        new = sorted(logins - self._ids.keys())
        if new:
            inserted = execute(_INSERT_ACCOUNTS, (new,))
            found = execute(_USER_IDS, (new,))
            self._sync()
            self._ids |= found.fetchall()
            self.outcome.new_users = inserted.rowcount

    def _find_devices(self) -> None:
        """Look up the ids of the named devices that the messages come from."""
        execute, known = self._execute, self._known
        named = {one.sender for one in self._batch.messages if one.sender.device}
        if not named:
            return
        unknown = {(one.user.id, one.device) for one in named if known.device(one) is None}
        ids: dict[tuple[int, str], int] = {}
        if unknown:
            columns = _columns(sorted(unknown), 2)
            execute(_INSERT_DEVICES, columns)
            found = execute(_DEVICES, columns)
            self._sync()
            ids = {(user_id, name): device for user_id, name, device in found.fetchall()}
        for sender in named:
            device = known.device(sender) or ids[sender.user.id, sender.device]
            self._devices[sender] = device
        for sender, device in self._devices.items():
            known.add_device(sender, device)

    def _read(self, others: set[int]) -> set[int]:
        """Lock all mailboxes that change, and do the rest of begin() in one round trip."""
        execute, batch = self._execute, self._batch
        changing = {user.id for one in batch.messages for user in one.audience.recipients}
        changing |= {user_id for user_id, _ in batch.positions}
        changing.update(self._ids.values())
        changing.discard(0)
        senders = {one.sender.user.id for one in batch.messages}
        unnamed = {user: upto for (user, device), upto in batch.positions.items() if not device}
        unknown = self._use_published()
        keys = sorted({(one.user.id, self._devices.get(one, 0)) for one in unknown})
        count = sum(len(message.texts) for message in batch.messages)
        locked = execute(_LOCK_ACCOUNTS, (sorted(changing),))
        moved = execute(_MOVE, _columns(unnamed.items(), 2)) if unnamed else None
        sessions = execute(_SESSIONS, (sorted(changing | senders),))
        published = execute(_PUBLISHED, _columns(keys, 2)) if keys else None
        offset = execute(_DRAW_OFFSETS, (count,)) if count else None
        held = self._read_sessions() if batch.registrations else None
        self._sync()
        if held is not None and (missed := self._log_in(*held) - others):
            return missed
        rows = locked.fetchall()
        waiting = {user_id: count for user_id, count, _ in rows}
        if moved is not None:
            waiting |= moved.fetchall()
        several = {user_id for user_id, _, devices in rows if devices}
        several &= {user_id for user_id, _ in batch.positions}
        if several:
            waiting |= self._move_devices(several, unnamed)
        for user_id, node, number in sessions.fetchall():
            self._sessions.setdefault(user_id, (node, number))
        if published is not None:
            self._add_published(unknown, keys, published.fetchall())
        if offset is not None:
            ((first,),) = offset.fetchall()
            self._ledger = Ledger(self._limit, self._ids, waiting, self._published, first)
        return set()

    def _read_sessions(self) -> tuple[_Cursor, _Cursor, _Cursor]:
        """Ask whether this node lives, for the sessions of the users who log in, and for numbers
        of new sessions.
        """
        execute, registrations = self._execute, self._batch.registrations
        user_ids = sorted({self._ids[one.name] for one in registrations})
        return (
            execute(_ALIVE, (self._node,)),
            execute(_HOLDERS, (user_ids,)),
            execute(_NUMBERS, (len(registrations),)),
        )

    def _log_in(self, alive: _Cursor, held: _Cursor, numbers: _Cursor) -> set[int]:
        """Decide on the logins; return the other nodes that lose sessions.

        The arguments are what _read_sessions() returned.

        Raises:
            Unavailable: the lease of this node has run out.
        """
        if not alive.rowcount:
            raise Unavailable("PostgreSQL: this node has lost its lease")
        logins = self._logins = Logins(
            self._batch.registrations,
            self._node,
            self._ids,
            {user_id: Holder(*holder) for user_id, *holder in held.fetchall()},
            [number for (number,) in numbers.fetchall()],
        )
        self.outcome.replaced = logins.replaced
        # The messages are admitted behind the logins.
        for user_id, one in logins.accepted.items():
            self._sessions[user_id] = self._node, one.number
        return set(logins.replaced)

    def _move_devices(
        self, user_ids: set[int], unnamed: Mapping[int, int]
    ) -> Iterable[tuple[int, int]]:
        """Move the positions of users with named devices; return what still waits, by user."""
        execute, positions = self._execute, self._batch.positions
        moves = [(user_id, unnamed[user_id]) for user_id in sorted(user_ids & unnamed.keys())]
        execute(_MOVE_UNNAMED, _columns(moves, 2))
        named = sorted((device, upto) for (_, device), upto in positions.items() if device)
        execute(_MOVE_NAMED, _columns(named, 2))
        left = execute(_CLEAR_INBOX, (sorted(user_ids),))
        self._sync()
        return left.fetchall()

    def _use_published(self) -> list[Session]:
        """Use the publishing ids that are known; return the sessions whose ids are not."""
        unknown = []
        for sender in {one.sender for one in self._batch.messages if one.publishing_id}:
            published = self._known.published(sender)
            if published is None:
                unknown.append(sender)
            else:
                self._published[sender] = published
        return unknown

    def _add_published(
        self,
        senders: Iterable[Session],
        keys: Iterable[tuple[int, int]],
        rows: Iterable[tuple[int, int, int, int]],
    ) -> None:
        """Use publishing ids that were read, and keep them in memory.

        Args:
            senders: the sessions that they were read for.
            keys: users and devices of these.
            rows: see the statement.
        """
        read = {key: Published() for key in keys}
        for key, found in groupby(rows, key=lambda row: row[:2]):
            read[key] = Published(row[2:] for row in found)
        for sender in senders:
            published = read[sender.user.id, self._devices.get(sender, 0)]
            self._published[sender] = published
            self._known.add_published(sender, published)

    # The second half.

    def write(self, number: int) -> None:
        """Write everything but the COMMIT.

        Args:
            number: of the batch, by which it is known later whether it was stored.
        """
        execute, batch, rows = self._execute, self._batch, self._rows
        added = self._ledger.added if self._ledger is not None else {}
        messages = (
            *(rows.offsets, rows.senders, rows.devices, rows.recipients),
            *(rows.several, rows.scopes, rows.times, rows.texts),
        )
        published = ((*key, last) for key, last in rows.published.items())
        unpublished = ((*key, first) for key, first in rows.unpublished.items())
        released = ((one.user.id, one.number) for one in batch.released)
        for statement, columns in (
            (_INSERT_MESSAGES, messages),
            (_INSERT_INBOX, rows.inbox),
            (_INSERT_CONVERSATIONS, rows.conversations),
            (_INSERT_PEERS, _columns(sorted(set(rows.peers)), 2)),
            (_ADD_WAITING, _columns(added.items(), 2)),
            (_PUBLISH, _columns(published, 4)),
            (_UNPUBLISH, _columns(unpublished, 3)),
            (_END_SESSIONS, _columns(released, 2)),
        ):
            if columns[0]:
                execute(statement, columns)
        if self._logins is not None and self._logins.accepted:
            self._begin_sessions(self._logins)
        execute(_NUMBER_BATCH, (number, self._node))

    def _begin_sessions(self, logins: Logins) -> None:
        execute = self._execute
        user_ids = list(logins.accepted)
        accepted = logins.accepted.values()
        execute(_LOG_IN, (user_ids, [one.when for one in accepted]))
        numbers = [one.number for one in accepted]
        execute(_BEGIN_SESSIONS, (self._node, user_ids, numbers, logins.tokens))


def _columns(rows: Iterable[tuple[Any, ...]], count: int) -> tuple[list[Any], ...]:
    """Return rows as columns, for unnest()."""
    columns: tuple[list[Any], ...] = tuple([] for _ in range(count))
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns
