"""The shared store: one PostgreSQL database for any number of servers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chat_protocol.domain.batch import Batch, Query
from chat_protocol.domain.outage import Outage
from chat_protocol.errors import StoreUnusable, Unavailable
from chat_protocol.interfaces import INeighbours, ISharedStore
from chat_protocol.stores.postgres import retention, sessions
from chat_protocol.stores.postgres.connect import IDLE_IN_TRANSACTION, connect, prepare
from chat_protocol.stores.postgres.database import Database, Outcome, reason, refused
from chat_protocol.stores.postgres.notify import Bell, Notes, hear
from chat_protocol.stores.thread_worker import IWorker, ThreadWorker

__all__ = ["PostgresStore"]

T = TypeVar("T")

RENEW_SECONDS = 1.5
"""How often a node renews its lease."""

SERVE_SECONDS = sessions.LEASE_SECONDS * 2 / 3
"""So long after a sign of life to the database, by its own clock, a node serves."""

WATCH_SECONDS = 0.25
"""How often a node looks at its clock, beside each turn of the reactor."""

COUNT_ROUNDS = 40
"""Every so many renewals it is asked how many users there are, and marked what is how old."""

SWEEP_ROUNDS = 4
"""Every so many renewals a node looks for what waits: a notification can be lost."""

_SETTLE_SECONDS = 0.2
"""Between two attempts to learn what became of an interrupted commit."""


def _now() -> float:
    """Seconds that go on while the process, or the machine, is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@implementer(ISharedStore)
class PostgresStore:
    """Users, sessions, mailboxes and messages in PostgreSQL; OK means committed there.

    Two threads of its own: one commits and reads, one keeps the lease. The third connection, on
    which notifications come, is read by the reactor.

    Args:
        conninfo: of the database, as libpq has it.
        mailbox_limit: messages that may wait for one user; 0: no limit.
        reactor: provides IReactorTime and IReactorFDSet.
        worker: where batches and questions go.
        keeper: where the lease is kept.
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
        self._conninfo = conninfo
        self._wall_clock = wall_clock
        parts = conninfo_to_dict(conninfo)
        where = f"{parts.get('host', 'local')}/{parts.get('dbname', '')}"
        self.description = f"postgresql://{where} (committed before OK)"
        self.registered = 0
        self._limit = mailbox_limit
        self._reactor = reactor
        self._worker = worker
        self._keeper = keeper
        self._neighbours: INeighbours | None = None
        self._node = 0
        self._database: Database | None = None
        self._connections: dict[str, psycopg.Connection[Any]] = {}
        self._bell: Bell | None = None
        self._serving_until = 0.0
        self._told = True
        self._doubtful: set[int] = set()
        self._last_to_everyone = 0
        self._round = 0
        self._keeping: Deferred[None] | None = None
        self._outage = Outage(reactor)
        self._renewal = LoopingCall(self._keep)
        self._watch = LoopingCall(self._look)
        self._renewal.clock = self._watch.clock = reactor

    @classmethod
    def from_url(cls, rest: str, mailbox_limit: int, reactor: Any) -> PostgresStore:
        """The store of ``postgresql://[USER[:PASSWORD]@][HOST[:PORT]]/DATABASE``."""
        conninfo = f"postgresql:{rest}"
        try:
            conninfo_to_dict(conninfo)
        except psycopg.Error as error:
            raise ValueError(f"{conninfo!r}: {str(error).strip()}") from None
        return cls(
            conninfo,
            mailbox_limit,
            reactor,
            ThreadWorker(reactor, "postgres"),
            ThreadWorker(reactor, "lease"),
        )

    @property
    def serving(self) -> bool:
        """See ISharedStore."""
        return _now() < self._serving_until

    def attach(self, neighbours: INeighbours) -> None:
        """See ISharedStore."""
        self._neighbours = neighbours

    # Opening and closing.

    def open(self) -> Deferred[None]:
        """See IStore."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        try:
            await self._keeper.run(self._prepare)
            await self._keeper.run(self._join)
        except psycopg.Error as error:
            raise StoreUnusable(
                f"{self.description.partition(' ')[0]} cannot be used: {reason(error)};"
                " check --store, and that PostgreSQL runs and lets this user create a schema"
            ) from error
        self._joined()
        self._renewal.start(RENEW_SECONDS, now=False).addErrback(self._failed)
        self._watch.start(WATCH_SECONDS, now=False).addErrback(self._failed)

    def _prepare(self) -> None:
        connection = self._connect("lease")
        prepare(connection)
        self.registered = sessions.count_users(connection)

    def close(self) -> Deferred[None]:
        """See IStore."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        for loop in (self._renewal, self._watch):
            if loop.running:
                loop.stop()
        self._serving_until = 0.0
        if self._bell is not None:
            self._bell.stop()
        if self._keeping is not None:
            await self._keeping
        with suppress(psycopg.Error):
            await self._keeper.run(self._leave)
        await self._worker.run(lambda: self._disconnect("batches"))
        await self._keeper.stop()
        await self._worker.stop()

    def _leave(self) -> None:
        if self._node:
            sessions.leave(self._connect("lease"), self._node)
        self._disconnect("lease")

    # Batches and questions, in the worker.

    def commit(self, batch: Batch) -> Deferred[None]:
        """See IStore."""
        return Deferred.fromCoroutine(self._commit(batch))

    async def _commit(self, batch: Batch) -> None:
        database = await self._worker.run(lambda: self._store(batch))
        outcome, neighbours = database.outcome, self._neighbours
        if neighbours is not None:
            for session in outcome.lost:
                neighbours.replaced(session.user.id, session.number)
        if outcome.everyone:
            self._rung(None)
        elif self._node in outcome.rung:
            self._rung(sorted(outcome.rung[self._node]))

    def _store(self, batch: Batch) -> Database:
        notes = Notes()
        database = self._usable()
        database.outcome = Outcome()
        if batch.registrations:
            self._register(batch, notes)
        if batch.messages or batch.returned or batch.taken or batch.released:
            try:
                database.commit(batch)
            except psycopg.Error as error:
                # Whoever logged in with this batch is told that it failed.
                self._doubtful.update(one.user_id for one in batch.registrations)
                self._settle(database, error)
                self._doubtful.clear()
            self._gather(batch, database, notes)
        try:
            notes.send(self._connect("batches"))
        except psycopg.Error:
            # The sweep makes up for it.
            self._disconnect("batches")
        return database

    def _settle(self, database: Database, error: psycopg.Error) -> None:
        """Learn whether an interrupted batch is stored; Unavailable if it is not."""
        while database.committing and self.serving:
            try:
                self._disconnect("batches")
                connection = self._connect("batches")
                stored = database.has_committed(connection)
            except psycopg.Error:
                time.sleep(_SETTLE_SECONDS)
                continue
            database.move_to(connection)
            database.committing = False
            if stored:
                return
        raise refused(error) from error

    def _gather(self, batch: Batch, database: Database, notes: Notes) -> None:
        outcome = database.outcome
        if outcome.everyone:
            notes.ring_everyone()
        else:
            for node, user_ids in outcome.rung.items():
                if node != self._node:
                    notes.ring(node, user_ids)
        for session in batch.released:
            notes.came_or_went(self._node, session.user.name, False, self._wall_clock())

    def _register(self, batch: Batch, notes: Notes) -> None:
        registrations = batch.registrations
        try:
            connection = self._connect("batches")
            taken = sessions.register(connection, self._node, registrations)
        except (psycopg.Error, Unavailable):
            for one in registrations:
                one.failed = True
            # What of it came to pass is not known: let go of it before anything else.
            self._doubtful.update(one.user_id for one in registrations if one.user_id)
            self._disconnect("batches")
            return
        self.registered += taken.new
        for node, users in taken.items():
            for user_id, number in users:
                notes.take(node, user_id, number)
        for one in registrations:
            if one.number:
                notes.came_or_went(self._node, one.name, True, one.when)

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        """See IStore."""
        return self._worker.run(lambda: self._read(queries))

    def _read(self, queries: Sequence[Query]) -> None:
        try:
            self._usable().read(queries)
        except psycopg.Error as error:
            raise refused(error) from error

    def forget(self, before: int) -> Deferred[bool]:
        """See IStore."""
        return self._worker.run(lambda: self._forget(before))

    def _forget(self, before: int) -> bool:
        self._usable()
        try:
            return retention.forget(self._connect("batches"), before)
        except psycopg.Error as error:
            raise refused(error) from error

    def _usable(self) -> Database:
        """The database, its connection alive as far as is known; Unavailable without one."""
        database = self._database
        if database is None or not self.serving:
            raise Unavailable("PostgreSQL: this node has no lease")
        try:
            connection = self._connect("batches")
            if self._doubtful:
                sessions.forget(connection, self._node, sorted(self._doubtful))
                self._doubtful.clear()
        except psycopg.Error as error:
            raise refused(error) from error
        if not database.uses(connection):
            database.move_to(connection)
        return database

    # The lease, in the keeper.

    def _keep(self) -> None:
        """Renew the lease, unless that is still going on."""
        if self._keeping is None:
            self._keeping = Deferred.fromCoroutine(self._renew())
            self._keeping.addErrback(self._failed)

    async def _renew(self) -> None:
        try:
            if self._told and not self.serving:
                await self._keeper.run(self._join)
                self._joined()
                self._outage.over()
                self.log.info("The database is there again: this is node {node}", node=self._node)
                return
            result = await self._keeper.run(self._renew_lease)
            if (seconds := self._outage.over()) is not None:
                self.log.info("The database answers again, after {n:.0f} seconds", n=seconds)
            if result is None:
                self._serving_until = 0.0
                self._look()
            elif self._bell is None:
                # What was notified meanwhile is missed.
                self._listen()
                self._rung(None)
            elif result:
                self._sweep(*result)
        except psycopg.Error as error:
            if self._outage.failed():
                self.log.warn("Cannot keep the lease: {reason}", reason=reason(error))
            await self._keeper.run(lambda: self._disconnect("lease"))
        finally:
            self._keeping = None

    def _renew_lease(self) -> tuple[list[int], int] | tuple[()] | None:
        """None: it has run out; else, now and then, what a sweep found."""
        started = _now()
        connection = self._connect("lease")
        if not sessions.renew(connection, self._node):
            return None
        self._serving_until = started + SERVE_SECONDS
        self._told = False
        self._round += 1
        if self._bell is None:
            Bell.listen(self._connect("bell"), self._node)
        if not self._round % COUNT_ROUNDS:
            self.registered = sessions.count_users(connection)
            retention.mark(connection, self._wall_clock())
        names = sessions.clear_dead_nodes(connection)
        if names:
            notes = Notes()
            for name in names:
                notes.came_or_went(0, name, False, time.time_ns())
            notes.send(connection)
        if self._round % SWEEP_ROUNDS:
            return ()
        return sessions.waiting_for(connection, self._node)

    def _sweep(self, waiting: list[int], last_to_everyone: int) -> None:
        if last_to_everyone != self._last_to_everyone:
            self._last_to_everyone = last_to_everyone
            self._rung(None)
        elif waiting:
            self._rung(waiting)

    def _rung(self, user_ids: list[int] | None) -> None:
        if self._neighbours is not None:
            self._neighbours.rung(user_ids)

    def _join(self) -> None:
        """Become a node (again)."""
        connection = self._connect("lease")
        if self._node:
            sessions.leave(connection, self._node)
        started = _now()
        self._node = sessions.join(connection)
        self._database = Database(self._connect("batches"), self._limit, self._node)
        listening = self._connect("bell")
        Bell.listen(listening, self._node)
        self._serving_until = started + SERVE_SECONDS

    def _joined(self) -> None:
        self._told = False
        self._listen()

    def _look(self) -> None:
        """Once the lease is lost, say so, and interrupt what hangs."""
        if self._told or self.serving:
            return
        self._told = True
        self.log.error(
            "This node has lost its lease: its users have to come back, here or elsewhere"
        )
        for connection in list(self._connections.values()):
            _interrupt(connection)
        if self._neighbours is not None:
            self._neighbours.lease_lost()

    # Notifications.

    def _listen(self) -> None:
        connection = self._connections.get("bell")
        if connection is not None and not connection.closed:
            self._bell = Bell(self._reactor, connection, self._heard, self._deaf)

    def _heard(self, payload: str) -> None:
        if self._neighbours is not None:
            hear(payload, self._node, self._neighbours)

    def _deaf(self) -> None:
        self._bell = None

    # Connections, by what they are for.

    def _connect(self, purpose: str) -> psycopg.Connection[Any]:
        """The connection for a purpose, made anew if it is gone; blocking."""
        connection = self._connections.get(purpose)
        if connection is None or connection.closed:
            settings = {"idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION)}
            connection = connect(self._conninfo, purpose, **settings)
            self._connections[purpose] = connection
        return connection

    def _disconnect(self, purpose: str) -> None:
        connection = self._connections.pop(purpose, None)
        if connection is not None:
            connection.close()

    def _failed(self, failure: Failure) -> None:
        self.log.failure("The store failed", failure)


def _interrupt(connection: psycopg.Connection[Any]) -> None:
    """Have whoever waits for an answer on a connection fail."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
