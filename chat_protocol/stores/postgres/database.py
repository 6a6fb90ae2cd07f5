"""The connection that commits and reads, and what became of an interrupted commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from chat_protocol.domain.messages import Batch, PositionKey
from chat_protocol.domain.queries import Query
from chat_protocol.errors import OutcomeUnknown
from chat_protocol.stores.postgres import leases
from chat_protocol.stores.postgres.devices import Devices
from chat_protocol.stores.postgres.known import Known
from chat_protocol.stores.postgres.locks import DEVICES_LOCK
from chat_protocol.stores.postgres.outcome import Outcome
from chat_protocol.stores.postgres.queries import Queries
from chat_protocol.stores.postgres.transaction import Transaction

__all__ = ["Database"]

_USERS_AT_ONCE = 20
"""Users with several devices that one step looks at."""

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%s)"

_DROP_TOKENS = "DELETE FROM ended_token WHERE until < clock_timestamp()"

_WITH_DEVICES = """
SELECT id FROM account WHERE device IS NULL AND id > %s ORDER BY id LIMIT %s
FOR NO KEY UPDATE
"""


class Database:
    """Commits the batches of one node, and reads. One thread at a time uses it; calls block.

    Args:
        connection: in autocommit mode.
        mailbox_limit: messages that may wait in one mailbox; 0: no limit.
        token_seconds: see Limits.
        node: the id of this node, which has a lease.
        wall_clock: returns nanoseconds since the epoch.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        mailbox_limit: int,
        token_seconds: float,
        node: int,
        wall_clock: Callable[[], int],
    ) -> None:
        self._connection = connection
        self._queries = Queries(connection, mailbox_limit)
        self._warnings: list[str] = []
        """What PostgreSQL has warned of since the last COMMIT was sent."""
        connection.add_notice_handler(self._noticed)
        self._limit = mailbox_limit
        self._token_seconds = token_seconds
        self._wall_clock = wall_clock
        self.node = node
        self._known = Known()
        self._batch = 0
        """The number of the last batch."""
        self.in_doubt: Outcome | None = None
        """The outcome of a batch whose COMMIT was sent and not answered: see :meth:`settle`."""

    def use(self, connection: psycopg.Connection[Any]) -> None:
        """Go on with this connection."""
        if connection is not self._connection:
            self._connection = connection
            self._queries = Queries(connection, self._limit)
            connection.add_notice_handler(self._noticed)

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(notice.message_primary or "a warning")

    def _check_warnings(self) -> None:
        """Raise an error if a COMMIT was answered with a warning.

        It succeeds with a warning if the wait for a synchronous standby was canceled: then the
        batch may be on this server only.
        """
        if self._warnings:
            raise psycopg.OperationalError(f"COMMIT: {self._warnings[-1]}")

    def read(self, queries: Sequence[Query]) -> None:
        """Answer queries.

        Raises:
            psycopg.Error: they are not answered.
        """
        self._queries.answer(queries)

    def forget_devices(self, after: int, when: int, absent: int) -> tuple[int, list[PositionKey]]:
        """Forget devices of some users: see IStore.forget_devices.

        Only one node at a time does so; for another there is nothing to do.

        Args:
            after: the id of a user; those with higher ids are looked at.
            when: nanoseconds since the epoch.
            absent: in nanoseconds.

        Returns:
            The id of the last user that was looked at, 0 if it is the last one of all, and the
            devices that are online at this node and too far behind.

        Raises:
            psycopg.Error: nothing is forgotten.
        """
        connection = self._connection
        with connection.transaction():
            (locked,) = connection.execute(_TRY_LOCK, (DEVICES_LOCK,)).fetchone() or (False,)
            if not locked:
                return 0, []
            connection.execute(_DROP_TOKENS)
            rows = connection.execute(_WITH_DEVICES, (after, _USERS_AT_ONCE)).fetchall()
            users = [user for (user,) in rows]
            devices = Devices(connection.execute, _nothing, self._limit)
            overrun = devices.forget(users, when, absent, self.node)
        return (users[-1] if len(users) == _USERS_AT_ONCE else 0), overrun

    def distrust_tokens(self) -> None:
        """Let no token of any session stand for a password.

        Raises:
            psycopg.Error: they may still.
        """
        with self._connection.transaction():
            self._connection.execute("DELETE FROM ended_token")
            self._connection.execute("UPDATE session SET verified = false WHERE verified")

    def commit(self, batch: Batch) -> Outcome:
        """Store a batch. If it fails, nothing is stored, unless :attr:`in_doubt` is set.

        Raises:
            psycopg.Error: the database cannot do it now.
            Unavailable: the lease of this node has run out.
            Exception: a fault of the program.
        """
        self.in_doubt = None
        try:
            return self._commit(batch)
        except BaseException:
            self._known.forget()
            self._roll_back()
            raise

    def _commit(self, batch: Batch) -> Outcome:
        connection = self._connection
        others: set[int] = set()
        while True:
            with connection.pipeline() as pipeline:
                transaction = Transaction(
                    connection,
                    pipeline,
                    self.node,
                    self._limit,
                    self._token_seconds,
                    self._known,
                    batch,
                    self._wall_clock(),
                )
                missed = transaction.begin(others)
                if not missed:
                    transaction.admit()
                    self._batch += 1
                    transaction.write(self._batch)
                    self.in_doubt = transaction.outcome
                    self._warnings.clear()
                    connection.execute("COMMIT")
            if not missed:
                self._check_warnings()
                self.in_doubt = None
                return transaction.outcome
            connection.execute("ROLLBACK")
            others |= missed

    def _roll_back(self) -> None:
        connection = self._connection
        if connection.info.transaction_status == TransactionStatus.INERROR:
            # PostgreSQL has refused a statement before the COMMIT.
            self.in_doubt = None
        if self.in_doubt is None:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
                # The lock in draw_offsets() is not released by a rollback.
                connection.execute("SELECT pg_advisory_unlock_all()")
                return
        connection.close()

    def settle(self, connection: psycopg.Connection[Any]) -> Outcome | None:
        """Find out what became of the batch in doubt, and go on with another connection.

        The transaction of the batch held the lock of this node before its COMMIT was sent, and
        holds it until it has ended. So when this call has the lock, the batch is stored, or never
        will be. A restart of PostgreSQL ends transactions as well.

        Returns:
            The outcome of the batch if it is stored, and as durable as any other.

        Raises:
            OutcomeUnknown: another node has removed this one.
            psycopg.Error: nothing was found out.
        """
        warnings: list[object] = []
        connection.add_notice_handler(warnings.append)
        with connection.transaction():
            leases.lock(connection, self.node)
            # A write, so that this transaction waits for the standbys: that of the batch did not,
            # if its server process was ended while it waited for them.
            row = connection.execute(
                "UPDATE node SET batch = batch WHERE id = %s RETURNING batch", (self.node,)
            ).fetchone()
        connection.remove_notice_handler(warnings.append)
        if warnings:
            raise psycopg.OperationalError("the wait for the standbys was canceled again")
        if row is None:
            raise OutcomeUnknown("PostgreSQL: this node was removed while a commit was in doubt")
        self.use(connection)
        outcome = self.in_doubt if row[0] == self._batch else None
        self.in_doubt = None
        return outcome


def _nothing() -> None:
    """Do nothing: outside of a pipeline each answer is there at once."""
