"""One batch as one transaction of the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, TypeAlias

import psycopg

from chat_protocol.domain.admission import admit
from chat_protocol.domain.login_rules import NO_NAME, is_device
from chat_protocol.domain.messages import Batch, Message, Registration
from chat_protocol.domain.users import Session
from chat_protocol.errors import Unavailable
from chat_protocol.stores.postgres.columns import columns_of
from chat_protocol.stores.postgres.devices import Devices
from chat_protocol.stores.postgres.known import Known, Published
from chat_protocol.stores.postgres.ledger import Ledger
from chat_protocol.stores.postgres.locks import EVERYONE_LOCK, NODE_LOCKS
from chat_protocol.stores.postgres.logins import HeldSession, Logins, hash_token
from chat_protocol.stores.postgres.outcome import Outcome
from chat_protocol.stores.postgres.rows import Rows
from chat_protocol.wire.codes import Code
from chat_protocol.wire.commands import Scope

__all__ = ["Transaction"]

_Cursor: TypeAlias = "psycopg.Cursor[Any]"

_USER_IDS = "SELECT name, id FROM account WHERE name = ANY(%b::text[])"

_INSERT_ACCOUNTS = """
INSERT INTO account (name, last_login, registered, position, device)
SELECT name, 0, last, last, -1 FROM unnest(%b::text[]) AS name,
    (SELECT coalesce(max(last), 0) AS last FROM message WHERE scope = 1) AS everyone
ORDER BY name ON CONFLICT DO NOTHING
"""

# What a user with several devices sends is in the user's own mailbox as well.
_LOCK_ACCOUNTS = """
SELECT id, waiting, device FROM account
WHERE id = ANY(%b::bigint[]) AND (device IS NULL OR id = ANY(%b::bigint[]))
ORDER BY id FOR NO KEY UPDATE
"""

# Rows up to the old position are deleted already: the scan of the index skips what is left of them.
# A row that the new position is in stays.
_MOVE = """
WITH moved AS (
    SELECT account.id, account.position, upto
    FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[]) AS m (id, device, upto)
    JOIN account USING (id, device) WHERE upto > position
), gone AS (
    DELETE FROM inbox USING moved WHERE user_id = id AND last > position AND last <= upto
    RETURNING user_id, last - greatest(last - count, position) AS less
), changed AS (
    SELECT id, max(upto) AS upto, sum(less)::integer AS less FROM (
        SELECT id, upto, (
            SELECT greatest(0, upto - greatest(last - count, position)) FROM inbox
            WHERE user_id = id AND last > upto ORDER BY last LIMIT 1
        ) AS less FROM moved UNION ALL SELECT user_id, 0, less FROM gone
    ) AS c GROUP BY id
)
UPDATE account SET waiting = waiting - coalesce(less, 0), position = upto
FROM changed WHERE account.id = changed.id
RETURNING account.id, waiting
"""

_SESSIONS = """
SELECT user_id, node, number, session.device, account.device
FROM session JOIN account ON account.id = user_id WHERE user_id = ANY(%b::bigint[])
"""

_HELD = """
SELECT user_id, number, node, device, token, verified, trusted
FROM session JOIN node ON node.id = session.node AND lease_until > clock_timestamp()
WHERE user_id = ANY(%b::bigint[])
"""

_PROOFS = """
SELECT user_id, token FROM ended_token
WHERE token = ANY(%b::text[]) AND until > clock_timestamp()
"""

_ALIVE = "SELECT FROM node WHERE id = %b AND lease_until > clock_timestamp()"

_NUMBERS = "SELECT nextval('session_number') FROM generate_series(1, %b)"

_PUBLISHED = """
SELECT user_id, device, first, last FROM publishing
JOIN unnest(%b::bigint[], %b::bigint[]) AS p (user_id, device) USING (user_id, device)
ORDER BY user_id, device, first
"""

_DRAW_OFFSETS = "SELECT draw_offsets(%b)"

_INSERT_MESSAGES = """
INSERT INTO message (last, count, sender, device, scope, recipient, recipients, frames)
SELECT last, count, sender, nullif(device, 0), scope, recipient, recipients::bigint[], frames
FROM unnest(
    %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[],
    %b::bigint[], %b::bigint[], %b::text[], %b::bytea[]
) AS m (last, count, sender, device, scope, recipient, recipients, frames)
"""
_INSERT_INBOX = """
INSERT INTO inbox SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[])
"""
_INSERT_COPIES = """
INSERT INTO copy (user_id, last, count, device)
SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[])
    AS c (user_id, last, count, device)
WHERE EXISTS (
    SELECT FROM device WHERE device.user_id = c.user_id AND position IS NOT NULL
    AND id <> c.device
)
"""
_DROP_COPIES = """
DELETE FROM copy USING unnest(%b::bigint[], %b::bigint[]) AS s (user_id, device)
CROSS JOIN LATERAL (
    SELECT last, sum(count) OVER (ORDER BY last DESC) - count AS newer FROM copy
    WHERE copy.user_id = s.user_id AND copy.device = s.device
) AS old
WHERE copy.user_id = s.user_id AND copy.last = old.last AND newer >= %b
"""
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
INSERT INTO session (node, user_id, number, device, device_id, token, verified, trusted)
SELECT %b, * FROM unnest(
    %b::bigint[], %b::bigint[], %b::text[], %b::bigint[], %b::text[], %b::boolean[], %b::boolean[]
)
"""
_END_SESSIONS = """
WITH gone AS (
    DELETE FROM session USING unnest(%b::bigint[], %b::bigint[]) AS ended (user_id, number)
    WHERE session.user_id = ended.user_id AND session.number = ended.number
    RETURNING session.user_id, token, verified, device
)
INSERT INTO ended_token SELECT token, user_id, clock_timestamp() + make_interval(secs => %b)
FROM gone WHERE verified AND token <> '' AND left(device, 1) <> ' ' AND %b > 0
ON CONFLICT DO NOTHING
"""
_SPEND = "DELETE FROM ended_token WHERE token = ANY(%b::text[])"
_SPEND_HELD = "UPDATE session SET verified = false WHERE token = ANY(%b::text[])"
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
        token_seconds: see Limits.
        known: what the node knows. What is stored is added to it.
        batch: to be stored.
        when: nanoseconds since the epoch.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        pipeline: psycopg.Pipeline,
        node: int,
        mailbox_limit: int,
        token_seconds: float,
        known: Known,
        batch: Batch,
        when: int,
    ) -> None:
        self._execute = connection.execute
        self._sync = pipeline.sync
        self._node = node
        self._limit = mailbox_limit
        self._token_seconds = token_seconds
        self._known = known
        self._batch = batch
        self._when = when
        self._devices = Devices(connection.execute, pipeline.sync, mailbox_limit)
        self._ids: dict[str, int] = {}
        """Of users by their names, where the batch did not know the id."""
        self._sessions: dict[int, set[tuple[int, int]]] = {}
        """By user id, the nodes and numbers of the sessions."""
        self._senders: dict[int, set[tuple[int, int]]] = {}
        """The same for sessions that only ask and send."""
        self._only: dict[int, int | None] = {}
        """By id of a user with a session: ``account.device``."""
        self._with_copies: set[int] = set()
        """Ids of users with several devices, whose rows are locked."""
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
        return self._read(others)

    def admit(self) -> None:
        """Decide on the messages."""
        here, ledger, outcome = self._node, self._ledger, self.outcome
        if ledger is None:
            return
        for message in self._batch.messages:
            sender = message.sender
            sessions = self._sessions if is_device(sender.device) else self._senders
            if (here, sender.number) not in sessions.get(sender.user.id, ()):
                message.refuse(Code.UNAVAILABLE, "another connection took the session over")
                outcome.lost.add(sender)
            elif admit(message, ledger):
                self._accept(message, ledger)

    def _accept(self, message: Message, ledger: Ledger) -> None:
        sender = message.sender
        device = -1 if sender.device == NO_NAME else sender.device_id
        self._rows.add(message, device)
        if message.publishing_id:
            self._rows.publish(message, device, self._published[sender])
        outcome = self.outcome
        outcome.everyone |= message.audience.scope == Scope.EVERYONE
        for user_id in message.recipient_ids:
            ledger.added[user_id] += message.accepted
            self._notify(user_id)
        user_id = sender.user.id
        if user_id in self._with_copies and user_id not in message.recipient_ids:
            message.copied = True
            self._rows.copy(message, device)
            self._notify(user_id)

    def _notify(self, user_id: int) -> None:
        for node, _ in self._sessions.get(user_id, ()):
            self.outcome.notified.setdefault(node, set()).add(user_id)

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
        names |= {one.name for one in batch.registrations}
        if not names:
            return
        found = execute(_USER_IDS, (list(names),))
        self._sync()
        self._ids = dict(found.fetchall())
        # Who is to show a password and has shown none registers nobody.
        logins = {one.name for one in batch.registrations if not one.login.needs_proof}
        new = sorted(logins - self._ids.keys())
        if new:
            inserted = execute(_INSERT_ACCOUNTS, (new,))
            found = execute(_USER_IDS, (new,))
            self._sync()
            self._ids |= found.fetchall()
            self.outcome.new_users = inserted.rowcount

    def _read(self, others: set[int]) -> set[int]:
        """Lock all mailboxes that change, and do the rest of begin() in one round trip."""
        execute, batch = self._execute, self._batch
        changing = {user.id for one in batch.messages for user in one.audience.recipients}
        changing |= {user_id for user_id, _ in batch.positions}
        changing.update(self._ids.values())
        changing.discard(0)
        senders = {one.sender.user.id for one in batch.messages}
        concerned = senders | changing
        concerned.update(one.user.id for one in batch.released)
        moves = [(*key, upto) for key, upto in batch.positions.items()]
        unknown = self._use_published()
        keys = sorted({(one.user.id, one.device_id) for one in unknown})
        count = sum(len(message.texts) for message in batch.messages)
        locked = execute(_LOCK_ACCOUNTS, (sorted(senders | changing), sorted(changing)))
        moved = execute(_MOVE, columns_of(moves, 3)) if moves else None
        sessions = execute(_SESSIONS, (sorted(concerned),))
        published = execute(_PUBLISHED, columns_of(keys, 2)) if keys else None
        offset = execute(_DRAW_OFFSETS, (count,)) if count else None
        held = self._read_sessions() if batch.registrations else None
        self._sync()
        for user_id, node, number, device, only in sessions.fetchall():
            self._only[user_id] = only
            if is_device(device):
                self._sessions.setdefault(user_id, set()).add((node, number))
            else:
                self._senders.setdefault(user_id, set()).add((node, number))
        if held is not None and (missed := self._log_in(*held) - others):
            return missed
        rows = locked.fetchall()
        waiting = {user_id: count for user_id, count, _ in rows}
        if moved is not None:
            waiting |= moved.fetchall()
        self._with_copies = {user_id for user_id, _, only in rows if only is None}
        moves = [move for move in moves if move[0] in self._with_copies]
        if moves:
            waiting |= self._devices.move(moves)
        if self._logins is not None:
            self._log_in_devices(self._logins, {user_id: only for user_id, _, only in rows})
        if published is not None:
            self._add_published(unknown, keys, published.fetchall())
        if offset is not None:
            ((first,),) = offset.fetchall()
            self._ledger = Ledger(self._limit, self._ids, waiting, self._published, first)
        return set()

    def _read_sessions(self) -> tuple[_Cursor, _Cursor, _Cursor, _Cursor]:
        """Ask whether this node lives, for the sessions of the users who log in, for tokens that
        stand for a password, and for numbers of new sessions.
        """
        execute, registrations = self._execute, self._batch.registrations
        user_ids = sorted({self._ids[one.name] for one in registrations if one.name in self._ids})
        shown = [hash_token(one.login.shown) for one in registrations if one.login.needs_proof]
        return (
            execute(_ALIVE, (self._node,)),
            execute(_HELD, (user_ids,)),
            execute(_PROOFS, (shown,)),
            execute(_NUMBERS, (len(registrations),)),
        )

    def _log_in(self, alive: _Cursor, held: _Cursor, proofs: _Cursor, numbers: _Cursor) -> set[int]:
        """Decide on the logins; return the other nodes that lose sessions.

        The arguments are what _read_sessions() returned.

        Raises:
            Unavailable: the lease of this node has run out.
        """
        if not alive.rowcount:
            raise Unavailable("PostgreSQL: this node has lost its lease")
        logins = self._logins = Logins(
            self._node,
            self._ids,
            [HeldSession(*one) for one in held.fetchall()],
            {one.number for one in self._batch.released},
            [(user_id, token) for user_id, token in proofs.fetchall()],
        )
        for registration, (number,) in zip(
            self._batch.registrations, numbers.fetchall(), strict=True
        ):
            logins.decide(registration, number)
        self.outcome.replaced = logins.replaced
        # The messages are admitted behind the logins.
        for user_id, number in logins.ended:
            for sessions in (self._sessions, self._senders):
                sessions[user_id] = {one for one in sessions.get(user_id, ()) if one[1] != number}
        for one in logins.accepted:
            sessions = self._sessions if is_device(one.login.device) else self._senders
            sessions.setdefault(one.user_id, set()).add((self._node, one.number))
        return set(logins.replaced)

    def _log_in_devices(self, logins: Logins, only: dict[int, int | None]) -> None:
        """Note which devices log in.

        Args:
            logins: those that are accepted.
            only: ``account.device`` of the users.
        """
        for one in logins.accepted:
            user_id = one.user_id
            if not one.login.device and only[user_id] == 0:
                # The usual case, without a statement.
                one.known, one.device_id, one.has_devices = True, 0, False
                continue
            self._devices.log_in(one, logins.online[one])
            only[user_id] = None if one.has_devices else one.device_id
            self._only[user_id] = only[user_id]
            if one.has_devices:
                self._with_copies.add(user_id)

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
            published = read[sender.user.id, sender.device_id]
            self._published[sender] = published
            self._known.add_published(sender, published)

    # The second half.

    def write(self, number: int) -> None:
        """Write everything but the COMMIT.

        Args:
            number: of the batch, by which it is known later whether it was stored.
        """
        execute, rows = self._execute, self._rows
        added = self._ledger.added if self._ledger is not None else {}
        messages = (
            *(rows.lasts, rows.counts, rows.senders, rows.devices),
            *(rows.scopes, rows.recipients, rows.several, rows.frames),
        )
        published = ((*key, last) for key, last in rows.published.items())
        unpublished = ((*key, first) for key, first in rows.unpublished.items())
        for statement, columns in (
            (_INSERT_MESSAGES, messages),
            (_INSERT_INBOX, rows.inbox),
            (_INSERT_COPIES, rows.copies),
            (_INSERT_CONVERSATIONS, rows.conversations),
            (_INSERT_PEERS, columns_of(sorted(set(rows.peers)), 2)),
            (_ADD_WAITING, columns_of(added.items(), 2)),
            (_PUBLISH, columns_of(published, 4)),
            (_UNPUBLISH, columns_of(unpublished, 3)),
        ):
            if columns[0]:
                execute(statement, columns)
        if rows.copies[0] and self._limit:
            senders = set(zip(rows.copies[0], rows.copies[3], strict=True))
            execute(_DROP_COPIES, (*columns_of(sorted(senders), 2), self._limit))
        self._end_sessions()
        if self._logins is not None and self._logins.accepted:
            self._begin_sessions(self._logins.accepted)
        execute(_NUMBER_BATCH, (number, self._node))

    def _end_sessions(self) -> None:
        execute, released = self._execute, self._batch.released
        ended = [(one.user.id, one.number) for one in released]
        if self._logins is not None:
            ended += self._logins.ended
            if self._logins.spent:
                execute(_SPEND, (self._logins.spent,))
                execute(_SPEND_HELD, (self._logins.spent,))
        if not ended:
            return
        seconds = self._token_seconds
        execute(_END_SESSIONS, (*columns_of(ended, 2), seconds, seconds))
        numbers = {number for _, number in ended}
        begun = {(one.user_id, one.device_id) for one in self._accepted}
        begun_numbers = {one.number for one in self._accepted}
        devices = {
            (one.user.id, one.device_id)
            for one in released
            if one.device_id or self._only.get(one.user.id, 0) is None
        }
        self._devices.end(sorted(devices - begun), self._when)
        for one in released:
            sessions = self._sessions.get(one.user.id, set())
            others = {number for _, number in sessions} - numbers - begun_numbers
            if (self._node, one.number) in sessions and not others:
                self.outcome.offline.add(one.user.name)

    @property
    def _accepted(self) -> list[Registration]:
        return [] if self._logins is None else self._logins.accepted

    def _begin_sessions(self, accepted: list[Registration]) -> None:
        execute = self._execute
        user_ids = [one.user_id for one in accepted]
        execute(_LOG_IN, (user_ids, [one.when for one in accepted]))
        rows = (
            (
                *(one.user_id, one.number, one.login.device, one.device_id),
                *(hash_token(one.token), one.verified, one.trusted),
            )
            for one in accepted
        )
        execute(_BEGIN_SESSIONS, (self._node, *columns_of(rows, 7)))
