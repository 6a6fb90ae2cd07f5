"""The shared store: one PostgreSQL database for any number of servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import psycopg
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from chat_protocol.domain.messages import Batch, PositionKey
from chat_protocol.domain.ports import IClusterListener, ISharedStore
from chat_protocol.domain.queries import Query
from chat_protocol.errors import OutcomeUnknown, StoreUnusable, Unavailable
from chat_protocol.stores.postgres import retention
from chat_protocol.stores.postgres.connect import bad_url, place, reason, unavailable
from chat_protocol.stores.postgres.connections import Connections
from chat_protocol.stores.postgres.database import Database
from chat_protocol.stores.postgres.node import Node
from chat_protocol.stores.postgres.notifications import Notifications
from chat_protocol.stores.postgres.outcome import Outcome
from chat_protocol.stores.thread_worker import IWorker, ThreadWorker

__all__ = ["PostgresStore"]

_SETTLE_SECONDS = 0.2
"""Time between two attempts to find out what became of an interrupted commit."""


@implementer(ISharedStore)
class PostgresStore:
    """Users, sessions, mailboxes and messages in PostgreSQL. OK means committed there.

    It has three connections: one commits and reads, in a thread of its own; one keeps the lease of
    the node, in another; on the third, which the reactor reads, notifications arrive.

    Args:
        conninfo: of the database, in the form of libpq.
        mailbox_limit: messages that may wait in one mailbox; 0: no limit.
        reactor: provides IReactorTime and IReactorFDSet.
        worker: commits and reads.
        keeper: keeps the lease.
        wall_clock: nanoseconds since the epoch.
    """

    log = Logger()

    def __init__(
        self,
        conninfo: str,
        mailbox_limit: int,
        reactor: Any,
        worker: IWorker,
        keeper: IWorker,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._name = place(conninfo)
        self.description = f"{self._name} (committed before OK)"
        self._limit = mailbox_limit
        self._worker = worker
        self._wall_clock = wall_clock
        self._connections = Connections(conninfo)
        self._node = Node(self._connections, reactor, keeper, wall_clock)
        self._database: Database | None = None
        self._token_seconds = 0.0
        self._looked_at = 0
        """The id of the last user whose devices were looked at."""

    @classmethod
    def from_url(cls, rest: str, mailbox_limit: int, reactor: Any) -> PostgresStore:
        """Return the store of ``postgresql://[USER[:PASSWORD]@][HOST[:PORT]]/DATABASE``.

        Raises:
            ValueError: the URL is wrong; the text says why.
        """
        conninfo = f"postgresql:{rest}"
        try:
            place(conninfo)
        except psycopg.Error as error:
            raise bad_url(conninfo, error) from None
        return cls(
            conninfo,
            mailbox_limit,
            reactor,
            ThreadWorker(reactor, "postgres"),
            ThreadWorker(reactor, "lease"),
        )

    @property
    def registered(self) -> int:
        """How many users there are: an estimate if other nodes register users as well."""
        return self._node.registered

    @property
    def serving(self) -> bool:
        """See ISharedStore."""
        return self._node.serving

    def attach(self, listener: IClusterListener, token_seconds: float) -> None:
        self._node.listener = listener
        self._token_seconds = token_seconds

    def open(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        try:
            await self._node.start()
        except StoreUnusable:
            await self._close()
            raise
        except psycopg.Error as error:
            await self._close()
            raise StoreUnusable(
                f"{self._name} cannot be used: {reason(error)}; check --store, and that PostgreSQL"
                " is running and lets this user create a schema"
            ) from error

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        await self._node.stop()
        await self._worker.run(lambda: self._connections.drop("batches"))
        await self._worker.stop()

    # Batches.

    def commit(self, batch: Batch) -> Deferred[None]:
        return Deferred.fromCoroutine(self._commit(batch))

    async def _commit(self, batch: Batch) -> None:
        outcome = await self._worker.run(lambda: self._store(batch))
        try:
            self._tell(outcome)
        except Exception:
            # The batch is stored: to fail now would have it stored again.
            self.log.failure("A session could not be told of a batch")

    def _tell(self, outcome: Outcome) -> None:
        """Tell the sessions of this node what a batch means for them."""
        node = self._node
        if node.listener is not None:
            for session in outcome.lost:
                node.listener.replaced(session.user.id, session.number)
        if outcome.everyone:
            node.notified(None)
        elif node.id in outcome.notified:
            node.notified(sorted(outcome.notified[node.id]))

    def _store(self, batch: Batch) -> Outcome:
        """Store a batch and notify the other nodes; runs in the worker."""
        database = self._usable()
        try:
            outcome = database.commit(batch)
        except Exception as error:
            if database.in_doubt is not None:
                outcome = self._settle(database, error)
            elif isinstance(error, psycopg.Error):
                raise unavailable(error) from error
            else:
                raise
        self._node.registered += outcome.new_users
        notifications = self._notifications(batch, outcome)
        try:
            notifications.send(self._connections.get("batches"))
        except psycopg.Error:
            # The other nodes find the messages when they look for some.
            self._connections.drop("batches")
        return outcome

    def _settle(self, database: Database, error: Exception) -> Outcome:
        """Find out whether an interrupted batch is stored; return its outcome if it is.

        Raises:
            Unavailable: the batch is not stored, nor ever will be.
            OutcomeUnknown: the lease ran out before PostgreSQL could be asked.
        """
        while self.serving:
            try:
                self._connections.drop("batches")
                outcome = database.settle(self._connections.get("batches"))
            except psycopg.Error:
                time.sleep(_SETTLE_SECONDS)
                continue
            if outcome is None:
                raise Unavailable(f"PostgreSQL: {reason(error)}") from error
            return outcome
        raise OutcomeUnknown(
            f"PostgreSQL: {reason(error)}, and the lease ran out before it answered again"
        ) from error

    def _notifications(self, batch: Batch, outcome: Outcome) -> Notifications:
        """Return what other nodes have to be told of a stored batch."""
        here = self._node.id
        notifications = Notifications()
        for node, sessions in outcome.replaced.items():
            for user_id, number in sessions:
                notifications.replace(node, user_id, number)
        for name in sorted(outcome.offline):
            notifications.change_presence(name, False, self._wall_clock())
        for registration in batch.registrations:
            if registration.number and registration.came_online:
                notifications.change_presence(registration.name, True, registration.when)
        if outcome.everyone:
            notifications.notify_everyone()
        else:
            for node, user_ids in outcome.notified.items():
                if node != here:
                    notifications.notify(node, user_ids)
        return notifications

    def _usable(self) -> Database:
        """Return the database of this node; runs in the worker.

        Raises:
            Unavailable: the node has no lease, or the database cannot be reached.
        """
        node = self._node
        if not node.serving:
            raise Unavailable("PostgreSQL: this node has no lease")
        database = self._database
        if database is not None and database.node != node.id:
            # Its connection was interrupted when the lease was lost.
            self._connections.drop("batches")
            database = None
        try:
            connection = self._connections.get("batches")
        except psycopg.Error as error:
            raise unavailable(error) from error
        if database is None:
            database = self._database = Database(
                connection, self._limit, self._token_seconds, node.id, self._wall_clock
            )
        database.use(connection)
        return database

    def distrust_tokens(self) -> Deferred[None]:
        return self._worker.run(self._distrust_tokens)

    def _distrust_tokens(self) -> None:
        try:
            self._usable().distrust_tokens()
        except psycopg.Error as error:
            raise unavailable(error) from error

    def forget_devices(
        self, when: int, absent: int, online: Collection[PositionKey]
    ) -> Deferred[list[PositionKey]]:
        return self._worker.run(lambda: self._forget_devices(when, absent))

    def _forget_devices(self, when: int, absent: int) -> list[PositionKey]:
        try:
            self._looked_at, overrun = self._usable().forget_devices(self._looked_at, when, absent)
        except psycopg.Error as error:
            raise unavailable(error) from error
        return overrun

    # Queries and retention.

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        return self._worker.run(lambda: self._read(queries))

    def _read(self, queries: Sequence[Query]) -> None:
        try:
            self._usable().read(queries)
        except psycopg.Error as error:
            raise unavailable(error) from error

    def forget(self, before: int) -> Deferred[bool]:
        return self._worker.run(lambda: self._forget(before))

    @staticmethod
    def _database_time(connection: psycopg.Connection[Any]) -> int:
        return retention.database_time(connection)

    def _forget(self, before: int) -> bool:
        self._usable()
        try:
            connection = self._connections.get("batches")
            # The caller has subtracted an age from the clock of this node.
            ahead = self._database_time(connection) - self._wall_clock()
            return retention.expire(connection, before + ahead)
        except psycopg.Error as error:
            raise unavailable(error) from error
