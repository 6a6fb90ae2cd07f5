"""The PostgreSQL store's own thread: a batch as one transaction, settled when it is interrupted.

What is locked, and in which order, so that no two transactions wait for each other:

1. the advisory lock of messages to everyone: shared, or exclusive in a batch that has one;
2. the advisory locks of nodes: shared by the batches of a node, exclusive for who takes sessions
   from it;
3. the rows of ``account``, in the order of their ids.

Offsets are drawn when all three are held, and become visible when they are let go. So offsets grow
within each mailbox in the order in which they can be seen, though not in the whole table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from chat_protocol.domain.batch import Batch, Publication, Query, Run
from chat_protocol.domain.session import Session
from chat_protocol.errors import Unavailable
from chat_protocol.stores.postgres.admission import Admission, Known
from chat_protocol.stores.postgres.queries import Queries
from chat_protocol.wire.commands import Scope

__all__ = ["EVERYONE_LOCK", "NODE_LOCKS", "Database", "Outcome", "reason", "refused"]

EVERYONE_LOCK = 0x43686174_00000001
NODE_LOCKS = 0x43686174
"""The class of the advisory locks of nodes; the other half is the node's id."""

_ACCOUNTS = "SELECT id, waiting FROM account WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
_SESSIONS = "SELECT user_id, node, number FROM session WHERE user_id = ANY(%s)"
_PUBLISHED = "SELECT user_id, id FROM publishing WHERE user_id = ANY(%s)"
_BLOCKS = "SELECT nextval('message_block') FROM generate_series(1, %s)"

_INSERT_MESSAGES = """
INSERT INTO message ("offset", sender, recipient, time, text, scope)
SELECT *, 0 FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bytea[])
"""
_INSERT_PUBLICATION = """
INSERT INTO message ("offset", sender, recipient, time, text, scope, recipients)
VALUES (%b, %b, %b, %b, %b, %b, %b)
"""
_INSERT_INBOX = """
INSERT INTO inbox SELECT * FROM unnest(%b::bigint[], %b::bigint[]) ON CONFLICT DO NOTHING
"""
_INSERT_CONVERSATIONS = """
INSERT INTO conversation
SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::integer[])
ON CONFLICT DO NOTHING
"""
_INSERT_PEERS = """
INSERT INTO peer SELECT * FROM unnest(%b::bigint[], %b::bigint[]) ON CONFLICT DO NOTHING
"""
_INSERT_PUBLISHED = "INSERT INTO publishing SELECT * FROM unnest(%b::bigint[], %b::bigint[])"
_FORGET_PUBLISHED = """
DELETE FROM publishing USING unnest(%b::bigint[], %b::bigint[]) AS kept (user_id, id)
WHERE publishing.user_id = kept.user_id AND publishing.id < kept.id
"""
_UPDATE_WAITING = """
UPDATE account SET waiting = waiting + more FROM unnest(%b::bigint[], %b::integer[]) AS m (id, more)
WHERE account.id = m.id
"""
_RETURN = """
WITH back AS (
    INSERT INTO inbox SELECT user_id, "offset"
    FROM unnest(%b::bigint[], %b::bigint[]) AS back (user_id, "offset")
    JOIN message USING ("offset") ON CONFLICT DO NOTHING
    RETURNING user_id
), counted AS (SELECT user_id, count(*) AS more FROM back GROUP BY user_id)
UPDATE account SET waiting = waiting + more FROM counted WHERE id = user_id
"""
_TAKE = """
WITH taken AS (SELECT * FROM unnest(%b::bigint[], %b::bigint[]) AS t (id, upto)
), gone AS (
    DELETE FROM inbox USING taken WHERE user_id = taken.id AND "offset" <= upto RETURNING user_id
), counted AS (SELECT user_id, count(*) AS less FROM gone GROUP BY user_id
), last AS (SELECT coalesce(max("offset"), 0) AS last FROM message WHERE scope = 1)
UPDATE account SET waiting = waiting - coalesce(less, 0),
    seen = CASE WHEN seen < least(upto, last) THEN upto ELSE seen END
FROM last, taken LEFT JOIN counted ON user_id = taken.id
WHERE account.id = taken.id AND (less > 0 OR seen < least(upto, last))
"""
_RELEASE = """
DELETE FROM session USING unnest(%b::bigint[], %b::bigint[]) AS released (user_id, number)
WHERE session.user_id = released.user_id AND session.number = released.number
"""


class Outcome:
    """Who is to be told of a commit."""

    def __init__(self) -> None:
        self.rung: dict[int, set[int]] = {}
        """By node, its users for whom there is something new."""
        self.everyone = False
        """Something went to everyone."""
        self.lost: set[Session] = set()
        """Sessions of this node whose users another node has."""

    def ring(self, node: int, user_id: int) -> None:
        """The user is on-line at that node."""
        self.rung.setdefault(node, set()).add(user_id)


class Database:
    """The connection that commits and reads; used from one thread at a time, and blocking.

    Args:
        connection: committing by itself.
        mailbox_limit: messages that may wait for one user; 0: no limit.
        node: the id of this node, whose lease it has.
    """

    def __init__(self, connection: psycopg.Connection[Any], mailbox_limit: int, node: int) -> None:
        self._connection = connection
        self._limit = mailbox_limit
        self._node = node
        self._queries = Queries(connection)
        self._known = Known()
        self._batch = 0
        self.outcome = Outcome()

    def read(self, queries: Sequence[Query]) -> None:
        """See IStore; a psycopg.Error leaves them as they were."""
        self._queries.answer(queries)

    def commit(self, batch: Batch) -> None:
        """Carry out a batch but for its registrations; fills ``outcome`` in.

        Raises:
            psycopg.Error: nothing of it is stored, unless :attr:`committing`.
        """
        self.committing = False
        self.outcome = Outcome()
        self._find_recipients(batch)
        try:
            with self._connection.pipeline():
                admission = self._begin(batch)
                admission.admit(batch.messages)
                self.outcome.lost = admission.lost
                self._ring(batch, admission)
                self._store(batch, admission)
                self._batch += 1
                execute = self._connection.execute
                execute("UPDATE node SET batch = %s WHERE id = %s", (self._batch, self._node))
                self.committing = True
                execute("COMMIT")
            self.committing = False
        except BaseException:
            self._known.forget()
            if not self._connection.closed:
                self._connection.execute("ROLLBACK")
                self.committing = False
            raise

    committing = False
    """An interrupted commit may have been carried out or not: see :meth:`has_committed`."""

    def has_committed(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether the batch whose commit was interrupted is stored, asked on a new connection.

        A transaction that is still under way holds the lock of its node: it is waited for.
        """
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (NODE_LOCKS, self._node))
            row = connection.execute(
                "SELECT batch FROM node WHERE id = %s", (self._node,)
            ).fetchone()
        return row is not None and row[0] == self._batch

    def uses(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether that is the connection it goes on with."""
        return self._connection is connection

    def move_to(self, connection: psycopg.Connection[Any]) -> None:
        """Go on with another connection."""
        self._connection = connection
        self._queries = Queries(connection)
        self._known.forget()

    def _find_recipients(self, batch: Batch) -> None:
        """Fill in the ids of recipients of whom only the name is known."""
        names = {
            user.name for message in batch.messages for user in _recipients(message) if not user.id
        }
        ids = self._queries.user_ids(names) if names else {}
        for message in batch.messages:
            if isinstance(message, Run):
                message.recipient_id = message.recipient.id or ids.get(message.recipient.name, 0)
            else:
                message.recipient_ids = [
                    user.id or ids.get(user.name, 0) for user in message.recipients
                ]

    def _begin(self, batch: Batch) -> Admission:
        """Take the locks and read what is needed to decide, in one round trip."""
        senders = {message.sender.user.id for message in batch.messages}
        recipients: set[int] = set()
        count = 0
        everyone = False
        publishers = set()
        for message in batch.messages:
            if isinstance(message, Run):
                recipients.add(message.recipient_id)
                count += len(message.texts)
            else:
                recipients.update(message.recipient_ids)
                count += 1
                everyone |= message.scope == Scope.EVERYONE
            if message.publishing_id and not self._known.publishes(message.sender):
                publishers.add(message.sender.user.id)
        locked = recipients | batch.taken.keys() | {one.user_id for one in batch.returned}
        execute = self._connection.execute
        execute("BEGIN")
        shared = "" if everyone else "_shared"
        execute(f"SELECT pg_advisory_xact_lock{shared}(%s)", (EVERYONE_LOCK,))
        execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", (NODE_LOCKS, self._node))
        waiting = execute(_ACCOUNTS, (sorted(locked),))
        sessions = execute(_SESSIONS, (sorted(recipients | senders),))
        published = execute(_PUBLISHED, (sorted(publishers),)) if publishers else None
        blocks = execute(_BLOCKS, (Admission.blocks(batch.messages),)) if count else None
        if published is not None:
            self._known.read_published(batch.messages, publishers, published.fetchall())
        return Admission(
            self._node,
            self._limit,
            dict(waiting.fetchall()),
            {user_id: (node, number) for user_id, node, number in sessions.fetchall()},
            [block for (block,) in blocks.fetchall()] if blocks is not None else [],
            self._known,
        )

    def _ring(self, batch: Batch, admission: Admission) -> None:
        sessions, outcome = admission.sessions, self.outcome
        for message in batch.messages:
            if isinstance(message, Run):
                recipients: Iterable[int] = (message.recipient_id,) if message.accepted else ()
            else:
                recipients = message.recipient_ids if message.offset else ()
                outcome.everyone |= bool(message.offset) and message.scope == Scope.EVERYONE
            for user_id in recipients:
                where = sessions.get(user_id)
                if where is not None:
                    outcome.ring(where[0], user_id)

    def _store(self, batch: Batch, admission: Admission) -> None:
        rows = admission.rows
        execute = self._connection.execute
        for query, columns in (
            (_INSERT_MESSAGES, rows.messages),
            (_INSERT_INBOX, rows.inbox),
            (_INSERT_CONVERSATIONS, rows.conversations),
            (_INSERT_PEERS, rows.peers),
            (_INSERT_PUBLISHED, rows.published),
            (_FORGET_PUBLISHED, rows.forgotten),
            (_UPDATE_WAITING, _columns(admission.more.items(), 2)),
            (_RETURN, _columns(((one.user_id, one.message.offset) for one in batch.returned), 2)),
            (_TAKE, _columns(sorted(batch.taken.items()), 2)),
            (_RELEASE, _columns(((one.user.id, one.number) for one in batch.released), 2)),
        ):
            if columns[0]:
                execute(query, columns)
        for publication in rows.publications:
            execute(_INSERT_PUBLICATION, publication)


def _columns(rows: Iterable[tuple[int, ...]], count: int) -> tuple[list[int], ...]:
    columns: tuple[list[int], ...] = tuple([] for _ in range(count))
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns


def _recipients(message: Run | Publication) -> Iterable[Any]:
    return (message.recipient,) if isinstance(message, Run) else message.recipients


def reason(error: psycopg.Error) -> str:
    """What went wrong, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def refused(error: psycopg.Error) -> Unavailable:
    """What the exchange is told."""
    return Unavailable(f"PostgreSQL: {reason(error)}")
