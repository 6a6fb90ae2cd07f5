"""The embedded store: one SQLite file, one writer, one fsync for each batch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from chat_protocol.domain.messages import Batch, PositionKey
from chat_protocol.domain.ports import IStore
from chat_protocol.domain.queries import Query
from chat_protocol.errors import Unavailable
from chat_protocol.stores.sqlite.database import Database
from chat_protocol.stores.thread_worker import IWorker, ThreadWorker

__all__ = ["SQLiteStore"]

_LOOK_SECONDS = 3.0
"""Time between two looks at whether the file is in its place."""

T = TypeVar("T")


@implementer(IStore)
class SQLiteStore:
    """Users, mailboxes and messages in one file; OK means on the disk (fsync).

    Args:
        path: of the file, which is created if it is missing.
        mailbox_limit: messages that may wait for one user; 0: no limit.
        worker: runs the calls that block.
        wall_clock: nanoseconds since the epoch.
        clock: times the looks at whether the file is in its place; None: only commits look.
    """

    log = Logger()

    def __init__(
        self,
        path: str,
        mailbox_limit: int,
        worker: IWorker,
        wall_clock: Callable[[], int] = time.time_ns,
        clock: IReactorTime | None = None,
    ) -> None:
        self._wall_clock = wall_clock
        self._clock = clock
        self._looks = LoopingCall(self._look)
        self.description = f"sqlite:{path} (synced to disk before OK)"
        self._path = path
        self._limit = mailbox_limit
        self._worker = worker
        self._database: Database | None = None
        self._purging = False

    @classmethod
    def from_url(cls, rest: str, mailbox_limit: int, reactor: Any) -> SQLiteStore:
        """Return the store of ``sqlite:PATH``."""
        if not rest or rest.startswith(":"):
            raise ValueError("sqlite: wants the path of a file behind it, as in sqlite:chat.db")
        return cls(
            os.path.abspath(rest), mailbox_limit, ThreadWorker(reactor, "sqlite"), clock=reactor
        )

    @property
    def registered(self) -> int:
        """How many users there are."""
        return self._database.registered if self._database is not None else 0

    def open(self) -> Deferred[None]:
        """See IStore."""
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        self._database = await self._worker.run(
            lambda: Database(self._path, self._limit, self._wall_clock, self._say)
        )
        if self._clock is not None:
            self._looks.clock = self._clock
            self._looks.start(_LOOK_SECONDS, now=False)

    def _look(self) -> None:
        """Log that the file is not in its place any more, unless a commit has failed with that."""
        place = self._open_database().place
        is_known = place.is_lost
        try:
            place.check()
        except Unavailable as error:
            if not is_known:
                self.log.error("{reason}", reason=error.detail)

    def _say(self, sentence: str) -> None:
        self.log.info("{sentence}", sentence=sentence)

    def commit(self, batch: Batch) -> Deferred[None]:
        """See IStore."""
        database = self._open_database()
        # In the reactor thread if everything needed is in memory: another thread would have to
        # get the GIL for each row. Only the sync is left to the worker then.
        try:
            free = not self._purging and database.at_hand(batch)
            written = free and database.write(batch)
            if written and database.syncs_quickly and batch.nobody_waits():
                # The only call that blocks in this thread: the way to the worker and back takes
                # longer than the sync.
                database.sync()
                return succeed(None)
        except Exception:
            return fail()
        if written:
            return self._worker.run(database.sync_and_checkpoint)
        return self._worker.run(lambda: database.commit(batch))

    def read(self, queries: Sequence[Query]) -> Deferred[None]:
        """See IStore."""
        database = self._open_database()
        return self._worker.run(lambda: database.read(queries))

    def forget_devices(
        self, when: int, absent: int, online: Collection[PositionKey]
    ) -> Deferred[list[PositionKey]]:
        """See IStore."""
        database = self._open_database()
        self._purging = True
        work = self._worker.run(lambda: database.forget_devices(when, absent, online))
        return work.addBoth(self._purged)

    def forget(self, before: int) -> Deferred[bool]:
        """See IStore."""
        database = self._open_database()
        # Until it is done the database belongs to the worker, which does one thing after another.
        self._purging = True
        return self._worker.run(lambda: database.expire(before)).addBoth(self._purged)

    def _purged(self, result: T) -> T:
        self._purging = False
        return result

    def close(self) -> Deferred[None]:
        """See IStore."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._looks.running:
            self._looks.stop()
        database, self._database = self._database, None
        if database is not None:
            await self._worker.run(database.close)
        await self._worker.stop()

    def _open_database(self) -> Database:
        if self._database is None:
            raise RuntimeError("the store is not open")
        return self._database
